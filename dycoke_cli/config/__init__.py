"""Settings of a run, merged from defaults, files, presets, environment variables and flags."""
