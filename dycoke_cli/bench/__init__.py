"""Measure speed and memory of several arms on this machine, and compare them with the machine's limits."""
