"""Reproducible measurements of speed, memory, quality and robustness; results are in `benchmarks/results`."""
