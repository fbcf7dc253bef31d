"""Ask a video a question from a terminal."""
