"""The quantized kernels of a model, and counts of their codes."""
