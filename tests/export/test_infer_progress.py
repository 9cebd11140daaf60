"""Progress of a job: a bar with a rate on a terminal, a line now and then elsewhere."""

import sys
import time

from diffsda.cli.infer import clip_bar


def test_lines_come_every_half_minute(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with clip_bar("infer encode") as say:
        for done in range(1, 100):
            now[0] += 1
            say(done, 99 + 3600)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "infer encode: clip 30/3699, 1 clips/s, 1:01:09 left",
        "infer encode: clip 60/3699, 1 clips/s, 1:00:39 left",
        "infer encode: clip 90/3699, 1 clips/s, 1:00:09 left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with clip_bar("infer encode") as say:
        say(1, 4)
        say(4, 4)
    told = capsys.readouterr().err
    assert "4/4" in told
    assert "clips/s" in told
