"""A report in headless Chromium: it opens without errors, and its controls work."""

import dataclasses
import html
from collections.abc import Iterator
from pathlib import Path

import pytest

from dycoke_cli.display.report import ReportRun, write_report
from tests.display import report_data as made
from tests.display.browser import Browser, find_chromium

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install one, or set $CHROMIUM"),
]
SMALL = (8, 4, 9)  # frames, side of the grid, steps
STEP = "document.getElementById('step').value"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM, tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    """An open small report; fails after the test if the console has errors or the page sent a request."""
    write(tmp_path / "r.html", made.runs(*SMALL))
    browser.errors.clear()
    browser.requests.clear()
    browser.open(tmp_path / "r.html")
    yield browser
    assert browser.errors == []
    fetched = {address for address in browser.requests if not address.startswith("data:")}
    assert fetched == {(tmp_path / "r.html").as_uri()}


def write(path: Path, runs: list[ReportRun], frames: int = SMALL[0], name: str = "clip.mp4") -> None:
    write_report(path, runs, made.frames(frames, name), made.MODEL, {"seed": 0}, "dycoke ask clip.mp4")


def text(page: Browser, where: str) -> str:
    found: str = page.run(f"document.querySelector({where!r}).textContent")
    return found


def picture(page: Browser, canvas: str) -> str:
    page.settle()
    drawn: str = page.run(f"document.querySelector({canvas!r}).toDataURL()")
    return drawn


def test_the_slider_moves(page: Browser) -> None:
    """Arrow keys on the slider change the highlighted word, the counts, the tokens and both charts."""
    page.run("document.getElementById('step').focus(); goTo(2)")
    places = (".tile canvas", "#read-chart", "#mass-chart")
    before = [picture(page, place) for place in places]
    counts = text(page, "#now")
    page.press("ArrowRight", 39)
    assert page.run(STEP) == "3"
    assert text(page, "#answer .now") == "rolls"
    assert text(page, "#step-name") == "3 / 8 rolls"
    assert text(page, "#now") != counts
    assert all(old != picture(page, place) for old, place in zip(before, places, strict=True))
    page.press("Home", 36)
    assert page.run(STEP) == "0"
    assert "read by the prefill" in text(page, "#now")


def test_it_plays(page: Browser) -> None:
    """Play runs through all steps in order and stops; the space key toggles it; the label of the button follows."""
    page.run("document.getElementById('step').focus()")
    page.run("window.seen = []; document.getElementById('play').focus()")
    page.run("const shown = goTo; goTo = (step) => { seen.push(step); shown(step); }")
    assert page.run("document.getElementById('play').getAttribute('aria-label')") == "Play"
    page.run("document.getElementById('play').click()")
    assert page.run("document.getElementById('play').getAttribute('aria-label')") == "Pause"
    page.run(
        "new Promise((done) => { const wait = () => chosen.timer === null ? done(1) : setTimeout(wait, 50); wait(); })"
    )
    assert page.run("seen") == list(range(9))
    page.run("document.getElementById('step').focus()")
    page.press(" ", 32)
    assert page.run("chosen.timer !== null")
    page.press(" ", 32)
    assert page.run("chosen.timer === null")


def test_a_click_on_a_word_or_a_chart_selects_its_step(page: Browser) -> None:
    """A click on a word or in a chart selects the step of that word or column."""
    page.run("document.querySelectorAll('#answer span')[5].click()")
    assert page.run(STEP) == "5"
    page.run(
        "(() => { const box = document.getElementById('mass-chart').getBoundingClientRect();"
        "const x = box.left + columns(box.width, 9).x(2) + 3;"
        "document.getElementById('mass-chart').dispatchEvent(new MouseEvent('click', {clientX: x})); })()"
    )
    assert page.run(STEP) == "2"


def test_a_token_describes_its_state(page: Browser) -> None:
    """A merged token shows its target frame and outlines it; keys move between tokens; Escape clears the selection."""
    trace = made.trace(*SMALL)
    token = next(place for place, into in enumerate(trace.merged_into) if into != place)
    frame = trace.merged_into[token] // 16
    page.run(f"tiles.point({token})")
    assert f"merged into the same place of frame {frame}." in text(page, "#token")
    assert page.run("[...document.querySelectorAll('.tile.target')].map((tile) => tile.dataset.frame)") == [f"{frame}"]
    page.run("tiles.point(null); tiles.tiles[0].canvas.focus()")
    page.press("ArrowRight", 39)
    assert text(page, "#token").startswith("Frame 0, row 1, column 1:")
    page.press("ArrowDown", 40)
    assert text(page, "#token").startswith("Frame 0, row 2, column 1:")
    page.press("PageDown", 34)
    assert text(page, "#token").startswith("Frame 1, row 2, column 1:")
    page.press("Escape", 27)
    assert text(page, "#token") == ""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_it_fits_and_follows_the_theme(page: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    """The page fits the window and follows the system's theme and reduced motion; the button overrides the theme."""
    page.open(tmp_path / "r.html", width, scheme=scheme)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.run("getComputedStyle(document.querySelector('#answer span')).transitionDuration") == "0s"
    ground = "getComputedStyle(document.body).backgroundColor"
    system = page.run(ground)
    assert (system == "rgb(251, 250, 248)") == (scheme == "light")
    steps = {"light": 2, "dark": 1}  # auto, light, dark
    for _ in range(steps[scheme]):
        page.run("document.getElementById('theme').click()")
    assert page.run(ground) != system


def test_the_longest_opens_at_once(browser: Browser, tmp_path: Path) -> None:
    """64 frames of 14 x 14 tokens over 100 steps: opening takes below 2 s of processor time, a step below 0.1 s."""
    write(tmp_path / "long.html", made.runs(64, 14, 100), 64)
    browser.open(tmp_path / "long.html")
    browser.call("Performance.enable", timeDomain="threadTicks")  # processor time, so that other processes do not count
    browser.open(tmp_path / "long.html")
    metrics = {entry["name"]: entry["value"] for entry in browser.call("Performance.getMetrics")["metrics"]}
    assert metrics["ScriptDuration"] + metrics["LayoutDuration"] < 2.0
    before = metrics["ScriptDuration"]
    browser.run("for (let step = 0; step < 20; step++) goTo(step)")
    metrics = {entry["name"]: entry["value"] for entry in browser.call("Performance.getMetrics")["metrics"]}
    assert (metrics["ScriptDuration"] - before) / 20 < 0.1


def variants() -> dict[str, list[ReportRun]]:
    trace = made.trace(*SMALL)
    ours, plain = made.runs(*SMALL)
    still = dataclasses.replace(trace, steps=[trace.prefill] * 9, scores=[[]] * 9)
    gone = dataclasses.replace(
        trace, merged_into=[into if into == t else -1 for t, into in enumerate(trace.merged_into)]
    )
    short = dataclasses.replace(trace, steps=trace.steps[:1], scores=[[]], pieces=["red"])
    several = [dataclasses.replace(run, answers=(run.answers[0], run.answers[0])) for run in (ours, plain)]
    named = {"name": "random", "options": {}}
    return {
        "no baseline": [ours],
        "no trace": [plain],
        "no attention": [ReportRun("random", named, (made.answer(still),))],
        "dropped": [ReportRun("random", named, (made.answer(gone),))],
        "one step": [ReportRun("dycoke", named, (made.answer(short),))],
        "several questions": several,
        "several methods": [ours, dataclasses.replace(ours, label="evs", repeats=3), plain],
    }


@pytest.mark.parametrize("name", list(variants()))
def test_every_kind_of_run_opens(browser: Browser, tmp_path: Path, name: str) -> None:
    """No baseline, no trace, no attention, one step, several questions or methods: the page opens without errors."""
    runs = variants()[name]
    write(tmp_path / "r.html", runs)
    browser.errors.clear()
    browser.open(tmp_path / "r.html")
    assert browser.errors == []
    hidden = browser.run("Object.fromEntries(['tokens', 'mass-figure', 'player'].map((id) => [id, get(id).hidden]))")
    assert hidden == {
        "tokens": name == "no trace",
        "mass-figure": name in ("no trace", "no attention", "one step"),
        "player": name in ("no trace", "one step"),
    }
    assert ("estimated" in text(browser, "#cost-lead")) == (not any(run.baseline for run in runs))
    assert ("Medians of 3" in text(browser, "#cost-lead")) == (name == "several methods")
    if name == "several methods":
        browser.run("document.querySelectorAll('#runs input')[1].click()")
        assert "dycoke gave the same answer" in text(browser, "#others")
    if name == "several questions":
        assert browser.run("get('questions').options.length") == 2


@pytest.mark.parametrize(
    "hostile", ["</script><script>document.title='broken'</script>", "<img src=x onerror=alert(1)>"]
)
def test_hostile_text_is_only_text(browser: Browser, tmp_path: Path, hostile: str) -> None:
    """HTML in a question, an answer and a file name is shown as text, and no script in it runs."""
    run = made.runs(*SMALL, question=hostile)[0]
    changed = dataclasses.replace(run.answers[0], answer=hostile, trace=None)
    write(tmp_path / "r.html", [run, ReportRun(hostile, run.method, (changed,))], name=f"{hostile}.mp4")
    browser.errors.clear()
    browser.open(tmp_path / "r.html")
    assert text(browser, "#question") == hostile
    assert hostile in text(browser, "#others")
    assert browser.run("document.title") == f"{hostile} · dycoke"
    assert browser.run("document.scripts.length") == 2
    assert html.escape(hostile) in (tmp_path / "r.html").read_text()
    assert browser.errors == []
