"""Ask a video a question, with DyCoke token compression."""

__version__ = "0.1.0"
