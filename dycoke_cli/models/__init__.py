"""Models: names and where their files are, checking and loading them, their sizes, and one file a model family."""
