"""Accuracy on a question file: reading, matching, answering, statistics. Only `run` runs a model."""
