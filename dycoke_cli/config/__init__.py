"""Settings of a run: defaults, files, presets, environment variables and flags, merged."""
