"""Progress of a job: a bar with a rate on a terminal; elsewhere lines, soon and then now and then."""

import sys
import time

import pytest

from diffsda.cli import progress
from diffsda.cli.progress import clip_bar


@pytest.fixture
def quick(monkeypatch):
    """Let lines come after hundredths of seconds."""
    monkeypatch.setattr(progress, "PAUSES", (0.02, 0.02))


def told_after(capsys, seconds=5.0, lines=1):
    """Return what was said, as soon as there are so many lines."""
    said, end = "", time.monotonic() + seconds
    while said.count("\n") < lines and time.monotonic() < end:
        time.sleep(0.01)
        said += capsys.readouterr().err
    return said.splitlines()


def test_work_that_takes_long_to_begin_is_not_silent(quick, capsys):
    with clip_bar("infer encode") as say:
        assert told_after(capsys, lines=2)[:2] == ["infer encode: no clip finished yet"] * 2
        say(20, 40)
        assert "infer encode: clip 20/40" in told_after(capsys, lines=2)[-1]


def test_lines_say_how_fast_and_how_long(quick, capsys):
    with clip_bar("infer encode") as say:
        say(30, 3699)
        last = told_after(capsys, lines=3)[-1]
    assert last.startswith("infer encode: clip 30/3699, ")
    assert last.endswith(" left")


def test_rates_and_times():
    lines = progress._Lines("infer")
    lines.count(30, 3699)
    assert lines.line(30.0) == "infer: clip 30/3699, 1 clips/s, 1:01:09 left"


def test_short_work_needs_no_words_and_leaves_no_thread(capsys):
    with clip_bar("infer encode") as say:
        say(1, 1)
        (thread,) = [t for t in progress.threading.enumerate() if t.daemon and "_speak" in t.name]
    assert not thread.is_alive()
    assert capsys.readouterr().err == ""
    assert progress.PAUSES[0] <= 5


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with clip_bar("infer encode") as say:
        say(1, 4)
        say(4, 4)
    told = capsys.readouterr().err
    assert "4/4" in told
    assert "clips/s" in told
