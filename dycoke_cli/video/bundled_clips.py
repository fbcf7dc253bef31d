"""The clips bundled with the package, for demos and quick tests, and their questions.

They are copies of files in sample_videos, whose manifest states their origin.
"""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "demo" / "clips"
VIDEO = FOLDER / "cube.mp4"
QUESTION = "describe the video."
QUESTIONS = FOLDER / "questions.yaml"  # one about each clip, with its answer
PREFIX = "sample:"


def resolve(video: str) -> str:
    """Return the path of the bundled clip for `sample:NAME`, unless a file has this name; else return `video`."""
    name = video.removeprefix(PREFIX)
    clips = {clip.stem: clip for clip in FOLDER.glob("*.mp4")}
    return str(clips[name]) if video.startswith(PREFIX) and name in clips and not Path(video).exists() else video
