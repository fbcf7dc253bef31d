"""Train the demo model of dycoke on rendered scenes: `uv run python -m training.train`."""
