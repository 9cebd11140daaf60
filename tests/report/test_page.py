"""The page: one file, escaped, with pictures inside and nothing to fetch."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from diffsda.errors import InputError, SaveError
from diffsda.report import canvas
from diffsda.report.page import Details, Figure, Score, Scores, Table, Text, page, write_page
from diffsda.report.strip import strip

PNG = canvas.png(strip(np.eye(4)), seed=5)
NASTY = '<script>alert("x")</script> & more'


class Reader(HTMLParser):
    """Check that tags are closed in order and keep what was seen."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def everything():
    """Return a page with each kind of section."""
    scores = (
        Score("EER of s", 0.0312, goal=0.05, better="lower"),
        Score("accuracy", 0.8, goal=0.9, note="nine speakers"),
        Score("mean squared error", 0.25),
    )
    sections = [
        Text("First paragraph.\n\nSecond one.", heading="What was done"),
        Scores(scores, caption="Scores on the test set"),
        Table(("setting", "value"), (("lr", 1e-3), (NASTY, None))),
        Figure(PNG, caption="A strip", alt="a heat-strip of one clip"),
        Details("More", (Text(NASTY), Details("Still more", (Figure(PNG, "", 'say "x"'),)))),
    ]
    return page("A run", sections, footer={"recipe": "abc", "seed": 5})


def test_is_well_formed_and_complete():
    reader = Reader()
    reader.feed(everything())
    assert reader.open == []
    assert reader.seen.count("figure") == reader.seen.count("details") == 2
    assert reader.seen.count("table") == 2
    assert ("html", "lang", "en") in reader.attributes
    assert any(name == "name" and value == "viewport" for _, name, value in reader.attributes)
    assert all(value for _, name, value in reader.attributes if name == "alt")


def test_text_is_escaped_everywhere():
    html = everything()
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; more") == 2
    assert 'alt="say &quot;x&quot;"' in html
    assert "<title>a &lt;b&gt;</title>" in page("a <b>", [])
    assert "<p>First paragraph.</p>\n<p>Second one.</p>" in html


def test_nothing_is_fetched():
    html = re.sub(r"base64,[A-Za-z0-9+/=]+", "", everything())
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<script|<iframe|srcset", html)
    assert "default-src 'none'" in html


def test_pictures_come_back_whole():
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="[^"]+" width="(\d+)" height="(\d+)"', everything())
    assert len(found) == 2
    for data, wide, high in found:
        raw = base64.b64decode(data, validate=True)
        assert raw == PNG
        size = Image.open(io.BytesIO(raw)).size
        assert (int(wide), int(high)) == tuple(round(side * 96 / canvas.DPI) for side in size)


def test_scores_say_met_or_missed_in_words():
    html = everything()
    assert html.count("\u2713 met") == html.count("\u2717 missed") == 1
    assert "0.031" in html
    assert "\u2264 0.050" in html
    assert "\u2265 0.900" in html
    assert "nine speakers" in html
    assert "Note" not in page("t", [Scores((Score("a", 1.0),))])


@pytest.mark.parametrize(
    ("value", "goal", "better", "met"),
    [
        (1.0, 1.0, "higher", True),
        (0.9, 1.0, "higher", False),
        (1.0, 1.0, "lower", True),
        (1.1, 1.0, "lower", False),
        (float("nan"), 1.0, "lower", False),
        (float("nan"), 1.0, "higher", False),
        (3.0, None, "higher", None),
    ],
)
def test_goals(value, goal, better, met):
    assert Score("x", value, goal, better).met is met


def test_follows_light_and_dark_and_small_screens():
    html = everything()
    assert "prefers-color-scheme: dark" in html
    assert "color-scheme: light dark" in html
    assert "@media (max-width" in html


def test_write_page(tmp_path):
    path = write_page(tmp_path / "run" / "page.html", "A run \u00e9", [Text("x")])
    assert path.read_text(encoding="utf-8") == page("A run \u00e9", [Text("x")])
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="expected a place"):
        write_page(tmp_path / "file" / "page.html", "t", [])


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="empty title"):
        page(" ", [])
    with pytest.raises(InputError, match="got str, expected Text"):
        page("t", ["plain"])
    with pytest.raises(InputError, match="expected the bytes of a PNG"):
        Figure(b"GIF89a", "c", "a")
    with pytest.raises(InputError, match="no alt text"):
        Figure(PNG, "c", " ")
    with pytest.raises(InputError, match="row 1 has 1 cells, expected 2"):
        Table(("a", "b"), ((1, 2), (3,)))
    with pytest.raises(InputError, match="expected 'higher' or 'lower'"):
        Score("x", 1.0, better="bigger")
