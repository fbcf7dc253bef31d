"""A report is one small file with the whole run, loads nothing, and escapes all text."""

import base64
import dataclasses
import html.parser
import io
import json
import re
import shutil
import subprocess
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dycoke_cli.display import packing
from dycoke_cli.display.packing import pack_integers, pack_set, pack_sets, pack_shares
from dycoke_cli.display.report import ReportRun, page, report_record, write_report
from tests.display import report_data as made

SMALL = (4, 3, 6)  # frames, side of the grid, steps
TEMPLATE = resources.files("dycoke_cli.display") / "template"


def record(runs: list[ReportRun], frames: int = 4, path: str = "clip.mp4", command: str = "dycoke ask") -> Any:
    return report_record(runs, made.frames(frames, path), made.MODEL, {"seed": 0}, command)


def unpacked_bits(text: str) -> set[int]:
    """Unpack a set as unpack.js does: the lowest number in the lowest bit."""
    return {8 * place + bit for place, byte in enumerate(base64.b64decode(text)) for bit in range(8) if byte >> bit & 1}


class Outline(html.parser.HTMLParser):
    """Collect the elements of a page, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.inside, []).append(data)


def data_of(text: str) -> Any:
    return json.loads(Outline(text).texts["script"][0])


def test_the_longest_run_stays_small(tmp_path: Path) -> None:
    """64 frames of 14 x 14 tokens over 100 steps, with pictures that compress badly: below 5 MB, in less than 10 s."""
    frames, runs = made.frames(64), made.runs(64, 14, 100)
    began = time.process_time()
    write_report(tmp_path / "r.html", runs, frames, made.MODEL, {}, "dycoke ask")
    assert time.process_time() - began < 10
    assert (tmp_path / "r.html").stat().st_size < 5_000_000


def test_packed_sets_and_numbers_unpack_to_the_same() -> None:
    """Sets and integers are exact, shares within 1 / 65535 of the largest."""
    rng = np.random.default_rng(2)
    for size in (1, 7, 8, 9, 12544):
        members = np.flatnonzero(rng.random(size) < 0.3).tolist()
        assert unpacked_bits(pack_set(members, size)) == set(members)
        assert len(base64.b64decode(pack_set(members, size))) == -(-size // 8)
    values = [-1, 0, 1, 65536, 2**31 - 1]
    assert np.frombuffer(base64.b64decode(pack_integers(values)), "<i4").tolist() == values
    rows = [None, rng.random(5), np.zeros(5), None, rng.random(5)]
    packed = pack_shares(rows)
    back = np.frombuffer(base64.b64decode(packed["values"]), "<u2").reshape(-1, 5) / 65535 * packed["peak"]
    assert packed["rows"] == [-1, 0, 1, -1, 2]
    for row, place in zip(rows, packed["rows"], strict=True):
        if row is not None:
            np.testing.assert_allclose(back[place], row, atol=packed["peak"] / 65535)
    assert pack_shares([None, None])["rows"] == [-1, -1]
    assert pack_shares([np.full(3, np.nan)])["peak"] == 0


def test_a_repeated_set_is_an_empty_text() -> None:
    """A set equal to the one before is an empty text; the first never is."""
    assert list(pack_sets([[], [], [1], [1], [0, 1]], 8)) == ["AA==", "", "Ag==", "", "Aw=="]


def test_the_page_contains_the_trace() -> None:
    """Sets, merges and attention in the data of the page equal those of the trace."""
    trace = made.trace(*SMALL)
    run = data_of(page(record(made.runs(*SMALL))))["runs"][0]
    assert unpacked_bits(run["prefill"]) == set(trace.prefill)
    merged = np.frombuffer(base64.b64decode(run["merged_into"]), "<i4")
    assert merged.tolist() == trace.merged_into
    shown = run["answers"][0]["trace"]
    assert [unpacked_bits(text) for text in shown["sets"]] == [set(step) for step in trace.steps]
    assert "".join(shown["pieces"]).strip() == run["answers"][0]["answer"]
    assert shown["mass"]["rows"][0] == -1  # no attention is recorded in the prefill
    mass = (
        np.frombuffer(base64.b64decode(shown["mass"]["values"]), "<u2").reshape(-1, 4) / 65535 * shown["mass"]["peak"]
    )
    np.testing.assert_allclose(mass.sum(axis=1), 0.6, rtol=1e-3)


HOSTILE = [
    "</script><script>document.title='broken'</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "]]>&lt;&amp; {{data}} {{script}} \\u003c",
    "naïve ünïcode 🎬 \u2028 \u2029",
    "a name with a surrogate \udcff",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text: str) -> None:
    """Question, answer, file name and command are in the data unchanged, and add no element to the page."""
    calm, hostile = made.runs(*SMALL), made.runs(*SMALL, question=text)
    changed = dataclasses.replace(hostile[1].answers[0], answer=text)
    hostile[1] = dataclasses.replace(hostile[1], answers=(changed,))
    written = page(record(hostile, path=f"{text}.mp4", command=text))
    assert [tag for tag, _ in Outline(written).tags] == [tag for tag, _ in Outline(page(record(calm))).tags]
    assert Outline(written).tags.count(("script", {})) == 1
    data = data_of(written)
    assert data["runs"][0]["answers"][0]["question"] == text
    assert data["runs"][1]["answers"][0]["answer"] == text
    assert (data["video"]["path"], data["command"]) == (f"{text}.mp4", text)
    written.encode("utf-8")


def test_nothing_is_fetched() -> None:
    """No element refers to another file, the page contains no URL, and its policy forbids requests."""
    written = page(record(made.runs(*SMALL)))
    outline = Outline(written)
    for tag, attributes in outline.tags:
        assert tag not in {"iframe", "object", "embed", "base", "form"}
        assert attributes.get("src") is None
        assert attributes.get("href") in (None, "data:,")
    assert "://" not in re.sub(r"<script type=.*?</script>", "", written, flags=re.DOTALL)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|innerHTML", written)
    policy = next(attributes["content"] for tag, attributes in outline.tags if attributes.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_every_control_of_the_page_is_labelled() -> None:
    """Inputs have labels, sections refer to a heading, ids are unique, and the language is set."""
    tags = Outline((TEMPLATE / "page.html").read_text()).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags:
        assert attributes.get("aria-labelledby", ids[0]) in ids
        if tag == "input":
            assert attributes.get("aria-label")
    assert ("html", {"lang": "en"}) in tags


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb after WCAG."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1, 2])
def test_text_has_enough_contrast(theme: int) -> None:
    """Every text colour has the WCAG contrast of 4.5 to 1 on its background, in both themes."""
    blocks = re.findall(r"--paper:.*?color-scheme", (TEMPLATE / "page.css").read_text(), re.DOTALL)
    assert len(blocks) == 3  # light; dark by choice; dark by the system
    assert blocks[1].split() == blocks[2].split()
    colour = dict(re.findall(r"--([\w-]+): (#\w{6});", blocks[theme]))
    pairs = [(text, ground) for text in ("ink", "soft", "accent") for ground in ("paper", "card", "wash")]
    for text, ground in [*pairs, ("on-accent", "accent"), ("ink", "accent-soft")]:
        one, two = sorted((luminance(colour[text]), luminance(colour[ground])), reverse=True)
        assert (one + 0.05) / (two + 0.05) >= 4.5, (text, ground)


def test_a_baseline_is_in_the_data_only_if_measured() -> None:
    """The data contains the figures of a measured baseline; without one it has a single run."""
    both, alone = record(made.runs(*SMALL)), record(made.runs(*SMALL)[:1])
    assert [run["baseline"] for run in both["runs"]] == [False, True]
    assert both["runs"][1]["answers"][0]["time_s"]["total"] == pytest.approx(0.4 + 2.3 * 1.8)
    assert both["runs"][1]["answers"][0]["trace"] is None
    assert len(alone["runs"]) == 1


def test_a_method_without_attention() -> None:
    """Without scores there is no attention, and all steps have the same set."""
    trace = made.trace(*SMALL)
    still = dataclasses.replace(trace, steps=[trace.prefill] * 6, scores=[[]] * 6)
    run = ReportRun("random", {"name": "random", "options": {}}, (made.answer(still),))
    shown = record([run])["runs"][0]["answers"][0]["trace"]
    assert shown["mass"] == {"peak": 0.0, "rows": [-1] * 6, "values": ""}
    assert shown["sets"][1:] == [""] * 5


def test_many_frames_get_smaller_pictures() -> None:
    """The total area of the pictures is bounded; each is a JPEG within its side, with its aspect ratio kept."""
    assert packing.picture_side(16) == packing.picture_side(64) == packing.SIDE
    for count in (65, 200, 600):
        assert count * packing.picture_side(count) ** 2 <= packing.AREA
    assert packing.picture_side(10**6) == packing.LEAST
    uri = packing.pack_picture(np.zeros((480, 270, 3), np.uint8), 100)
    picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))
    assert (picture.format, picture.size) == ("JPEG", (56, 100))


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's script with")
def test_the_script_unpacks_what_python_packed(tmp_path: Path) -> None:
    """unpack.js under node returns the sets, states and attention of the trace."""
    trace, written = made.trace(*SMALL), record(made.runs(*SMALL))
    (tmp_path / "data.json").write_text(json.dumps(written["runs"][0]))
    program = (
        (TEMPLATE / "unpack.js").read_text()
        + """
    const run = JSON.parse(require("fs").readFileSync(process.argv[2]));
    const packed = run.answers[0].trace;
    const kept = { prefill: unpackSet(run.prefill), merged_into: unpackIntegers(run.merged_into) };
    const trace = { ...kept, sets: unpackSets(packed.sets) };
    console.log(JSON.stringify({
      states: trace.sets.map((_, step) => [...statesAt(trace, step)]),
      mass: unpackShares(packed.mass, 4).map((row) => row && [...row]),
      merged: mergedFrom(trace, 9, 3),
      texts: [seconds(0.0312), seconds(4.213), seconds(null), size(2048), clock(64.25), percent(0.4746)],
    }));
    """
    )
    (tmp_path / "run.js").write_text(program)
    done = subprocess.run(
        ["node", tmp_path / "run.js", tmp_path / "data.json"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for step, states in enumerate(found["states"]):
        now, before = set(trace.steps[step]), set(trace.steps[max(step - 1, 0)])
        for token, state in enumerate(states):
            kept = token in trace.prefill
            assert state == (1 if not kept else 2 if token not in now else 3 if token in before else 4)
    assert found["mass"][0] is None
    assert np.sum(found["mass"][1]) == pytest.approx(0.6, rel=1e-3)
    gone = [into // 9 for token, into in enumerate(trace.merged_into) if token // 9 == 3 and into != token]
    assert dict(found["merged"]) == {frame: gone.count(frame) for frame in set(gone)}
    assert found["texts"] == ["31 ms", "4.21 s", "–", "2.0 KiB", "1:04.3", "47.5 %"]
