"""Several methods on one video, each run on its own, in turns."""
