"""Films, contents, marked tables, and what is left out where a page would be too large."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from diffsda.errors import InputError
from diffsda.report import budget
from diffsda.report.page import Details, Figure, Film, Table, Tagged, Text, page


def picture(size=(8, 6)):
    """Return a small PNG of noise, which does not get smaller."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="PNG")
    return buffer.getvalue()


WEBM = b"\x1a\x45\xdf\xa3" + bytes(20)
FILM = Film(WEBM, picture((40, 30)), "moving", 'what "moves"')


def test_a_film_is_silent_repeats_and_can_be_stopped():
    html = page("t", [FILM])
    films = re.findall(r"<video[^>]*>", html)
    assert len(films) == 2
    for tag in films:
        for word in ("muted", "loop", "controls", "playsinline", 'width="40"', 'height="30"', "poster="):
            assert word in tag
        assert "&quot;moves&quot;" in tag
    assert "media-src data:;" in html
    assert html.count('src="data:video/webm;base64,') == 2
    assert "<script" not in html


def test_a_film_plays_by_itself_only_where_motion_is_welcome():
    html = page("t", [FILM])
    first, second = re.findall(r"<video.*?</video>", html)
    assert ("autoplay" in first, "autoplay" in second) == (True, False)
    assert "(prefers-reduced-motion: no-preference)" in first
    assert "(prefers-reduced-motion: reduce)" in second
    assert re.search(r"reduced-motion: reduce\) \{ video.moving \{ display: none; \}", html)


def test_films_that_are_none_are_refused():
    with pytest.raises(InputError, match="expected the bytes of a WebM"):
        Film(picture(), picture(), "c", "a")
    with pytest.raises(InputError, match="expected a PNG as poster"):
        Film(WEBM, WEBM, "c", "a")
    with pytest.raises(InputError, match="no alt text"):
        Film(WEBM, picture(), "c", " ")


def test_contents_lead_to_headings():
    html = page("t", [Text("a", heading="First & last"), Text("b", heading="2nd")], contents=True)
    assert re.findall(r'<li><a href="(#[^"]+)">', html) == ["#first-last", "#2nd"]
    assert re.findall(r'<h2 id="([^"]+)"', html) == ["first-last", "2nd"]
    assert html.index("<nav") < html.index("<h2")
    assert "<nav" not in page("t", [Text("a", heading="b")])
    with pytest.raises(InputError, match=r"heading '[Bb]' twice"):
        page("t", [Text("x", heading="b"), Text("y", heading="B")])


def test_cells_may_be_marked():
    table = Table(("a", "b"), ((Tagged("x<", "new", "why>"), 1),), tones=("baseline",), numbers=("b",))
    html = page("t", [table])
    assert '<tr class="baseline"><td>x&lt; <span class="tag">new</span><span class="small">why&gt;</span></td>' in html
    assert '<td class="number">1</td>' in html
    with pytest.raises(InputError, match="got 2 tones, expected 1"):
        Table(("a",), ((1,),), tones=("", ""))


def test_what_is_too_much_is_left_out_films_first_and_named():
    large, small = Figure(picture((60, 60)), "large", "l"), Figure(picture((20, 20)), "small", "s")
    sections = [large, FILM, Details("more", (small,))]
    assert budget.within(sections, 10**6) == sections
    room = 4 * (len(large.png) + len(small.png)) // 3 + 1
    kept = budget.within(sections, room)
    assert kept[0] == large
    assert isinstance(kept[1], Text)
    assert re.match(r"A film of 0.0 MB was left out .*: moving", kept[1].body)
    kept = budget.within(sections, 4 * len(small.png) // 3 + 1)
    assert "large" in kept[0].body
    assert kept[2].sections == (small,)
    assert "small" in budget.within(sections, 0)[2].sections[0].body


def test_a_page_of_what_was_kept_is_small_enough():
    parts = [Figure(picture((100, 100 + i)), f"{i}", "x") for i in range(20)] + [FILM]
    html = page("t", budget.within(parts, 200_000))
    assert len(html) < 200_000 + budget.TEXT
