"""What this package knows of Keras 2 and Larq, their private names among it."""
