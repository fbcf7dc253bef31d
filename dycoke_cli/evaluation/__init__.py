"""Accuracy on a question file: reading, matching, answering, statistics. Only `run` and `arm` know a model."""
