"""Measurements that anybody can repeat; results are in `benchmarks/results`."""
