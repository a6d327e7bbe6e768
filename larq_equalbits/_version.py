"""The version, apart from the package so that a build reads it without importing TensorFlow."""

VERSION = "0.1.0"
