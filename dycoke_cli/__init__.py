"""Video question answering on the command line, with DyCoke token compression."""

__version__ = "0.1.0"
