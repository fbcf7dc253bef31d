"""Accuracy on a question file: parse it, answer its questions, match the answers, compute statistics."""
