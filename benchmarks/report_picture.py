"""Take the README's screenshot of an HTML report with Chromium: `uv run python -m benchmarks.report_picture`."""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from dycoke_cli.cli.app import run
from tests.display.browser import Browser, find_chromium

ROOT = Path(__file__).parents[1]
ASK = ["ask", str(ROOT / "sample_videos" / "cube.mp4"), "describe the video", "-m", "demo", "--baseline", "-q"]


def main() -> int:
    """Ask the demo model, open the report halfway through the answer, and save a screenshot."""
    chromium = find_chromium()
    if chromium is None:
        print("No Chromium: install one, or name it in $CHROMIUM", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        if code := run([*ASK, "--report", str(report)]):
            return code
        with Browser(chromium, Path(folder) / "profile") as browser:
            browser.open(report, 1200, 1160)
            browser.run("goTo(Math.floor(answer().trace.pieces.length / 2))")
            browser.settle()
            picture = Image.open(io.BytesIO(browser.screenshot(whole=False)))
    picture.convert("RGB").save(ROOT / "benchmarks" / "results" / "report.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
