"""Everything that differs between networks, one file a family."""
