"""Models: names, checkpoint validation and loading, parameter counts and FLOPs, model families, hub downloads."""
