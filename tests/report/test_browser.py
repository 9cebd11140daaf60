"""Pages in a real browser: they render on a wide screen and on a phone, by day and by night, and ask for nothing."""

from __future__ import annotations

import io

import chromium
import numpy as np
import pytest

from diffsda.report import page
from diffsda.report.canvas import png
from diffsda.report.curves import loss_curve
from diffsda.report.film import moving, poster, webm
from diffsda.report.sections import Details, Figure, Film, Score, Scores, Table, Tagged, Text

SCREENS = [(1280, False), (1280, True), (360, False), (360, True)]
VISIBLE = "[...document.querySelectorAll('video')].filter(v => getComputedStyle(v).display !== 'none')"
DECODED = f"{VISIBLE}.length === 2 && {VISIBLE}.every(v => v.readyState >= 2 && v.videoWidth === 400)"
WORDS = "A long row of words that has to go somewhere. " * 4


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """Return a tab of a browser that serves all tests here."""
    chromium.needed()
    with chromium.browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return a page with everything on it, much of it too wide for a phone."""
    pytest.importorskip("av")
    figure = Figure(png(loss_curve(np.arange(1, 50), 1 / np.arange(1, 50))), "Loss.", "a curve that falls")
    clip = np.linspace(-1, 1, 6 * 3 * 400 * 400, dtype=np.float32).reshape(6, 3, 400, 400)
    frames = moving([[clip]], (-1.0, 1.0))
    film = Film(webm(frames), poster(frames), "A film.", "something that moves")
    columns = tuple(f"a long name of column {i}" for i in range(9))
    wide = Table(columns, ((Tagged("x" * 60, "baseline", WORDS), *range(8)),), WORDS, ("baseline",), columns[1:])
    sections = [
        Text(WORDS, heading="Words"),
        Scores((Score("good", 0.9, 0.8), Score("bad", 0.1, 0.8)), caption="scores"),
        Text("", heading="Pictures"),
        figure,
        film,
        film,
        wide,
        Details("More", (wide, figure)),
    ]
    folder = tmp_path_factory.mktemp("page")
    footer = {"digest": "0123456789abcdef" * 4}
    return page.write_page(folder / "page.html", "A page", sections, footer=footer, contents=True)


def check(tab, width):
    """Assert that a page is complete, asks for nothing, complains of nothing and does not run off the screen."""
    tab.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.ask("document.documentElement.scrollWidth") == width
    assert tab.ask("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)")
    assert not tab.complaints
    assert {uri for uri in tab.asked if not uri.startswith("data:")} == {tab.ask("location.href")}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_renders(tab, file, width, dark):
    image = pytest.importorskip("matplotlib.image")
    tab.show(file.as_uri(), width=width, dark=dark)
    assert tab.wait(DECODED)
    check(tab, width)
    picture = image.imread(io.BytesIO(tab.picture()))[..., :3]
    assert picture.shape[1] == width
    background = picture[0, 0]
    assert background.mean() < 0.2 if dark else background.mean() > 0.9
    ink = np.abs(picture - background).max(-1) > 0.1
    assert ink.mean() > 0.005  # something is drawn
    assert ink[picture.shape[0] // 4 : picture.shape[0] // 2].any()


@pytest.mark.slow
def test_films_play_where_motion_is_welcome(tab, file):
    tab.show(file.as_uri(), width=360)
    assert tab.wait(DECODED)
    assert tab.wait(f"{VISIBLE}.every(v => !v.paused && v.muted && v.loop && v.controls && v.currentTime > 0)")


@pytest.mark.slow
def test_films_rest_where_it_is_not_but_can_be_played(tab, file):
    tab.show(file.as_uri(), width=360, still=True)
    assert tab.wait(DECODED)
    assert tab.ask("[...document.querySelectorAll('video')].every(v => v.paused && v.currentTime === 0)")
    check(tab, 360)
    tab.ask(f"{VISIBLE}[0].play()")
    assert tab.wait(f"{VISIBLE}[0].currentTime > 0")


@pytest.mark.slow
def test_contents_lead_somewhere(tab, file):
    tab.show(file.as_uri(), width=1280)
    links = "[...document.querySelectorAll('nav a')].map(a => document.querySelector(a.hash)?.innerText)"
    assert tab.ask(links) == ["Words", "Pictures"]


@pytest.mark.slow
def test_the_policy_lets_nothing_in_or_out(tab, file):
    """What the page forbids is refused: the checks above would not see it otherwise."""
    tab.show(file.as_uri(), width=1280)
    tab.ask("new Promise(done => { const i = new Image(); i.onerror = done; i.src = 'http://localhost:1/x.png'; })")
    assert tab.wait("true")
    assert any("Content Security Policy" in words for words in tab.complaints)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), SCREENS)
@pytest.mark.parametrize("kind", ["video", "series"])
def test_reports_of_runs_render(tab, report, width, dark, kind):
    tab.show(report[kind].as_uri(), width=width, dark=dark)
    assert tab.wait(f"{VISIBLE}.every(v => v.readyState >= 2)")
    assert tab.ask(f"{VISIBLE}.length") == (6 if kind == "video" else 0)
    check(tab, width)


@pytest.fixture(scope="module")
def report(video_run, series_run, tmp_path_factory):
    """Return the pages of two runs, as the verb makes them."""
    from diffsda.cli import main

    folder, pages = tmp_path_factory.mktemp("reports"), {}
    for kind, run, data in (("video", video_run, "moving_shapes"), ("series", series_run, "series")):
        pages[kind] = folder / f"{kind}.html"
        words = ["report", run, "--data", data, "--out", pages[kind], "--steps", "2", "--count", "2"]
        assert main([str(word) for word in words]) == 0
    return pages
