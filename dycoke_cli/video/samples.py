"""Clips that come with the package, so that a command can show something without being given a video.

They are the same files as in sample_videos, where their manifest is.
"""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "demo" / "clips"
VIDEO = FOLDER / "cube.mp4"
QUESTION = "describe the video."
QUESTIONS = FOLDER / "questions.yaml"  # about each clip one, with its answer
PREFIX = "sample:"


def resolve(video: str) -> str:
    """Turn `sample:NAME` into the bundled clip's path, unless a file is called so; leave anything else alone."""
    name = video.removeprefix(PREFIX)
    clips = {clip.stem: clip for clip in FOLDER.glob("*.mp4")}
    return str(clips[name]) if video.startswith(PREFIX) and name in clips and not Path(video).exists() else video
