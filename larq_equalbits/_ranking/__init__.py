"""Which weights are among the largest of their filter: exact with ties, and quick inside a training step."""
