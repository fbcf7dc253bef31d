"""A clip that comes with the package, so that a command can show something without being given a video."""

from pathlib import Path

VIDEO = Path(__file__).parent / "cube.mp4"  # the same file as in sample_videos, where its manifest is
QUESTION = "describe the video."
