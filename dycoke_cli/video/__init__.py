"""A file becomes frames with true timestamps."""
