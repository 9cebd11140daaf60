"""The report of a run: everything there is gets its place, and what cannot be drawn gets a sentence."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest

from diffsda.checkpoint import load
from diffsda.data.registry import open_clips
from diffsda.firststage.clips import raw, whitened
from diffsda.report import whole
from diffsda.report.canvas import provenance
from diffsda.report.gallery import take_apart
from diffsda.report.page import page
from diffsda.report.run import read_run
from diffsda.report.sections import Details, Figure, Film, Table, Text
from diffsda.report.subject import Subject, extremes, films_or_why
from diffsda.report.truth import truth
from diffsda.tasks.reconstruct import reconstruct


def subject_of(run, clips, **changes):
    """Return a run's model, ready to be drawn with these clips."""
    model = load(run)
    settings = {"limits": extremes(clips), "films": False, "seed": 2, "steps": 2, "about": {"recipe": "r"}}
    return Subject(model=model, back=lambda x, n: raw(x, model.whitening, n), **(settings | changes))


def brought(subject, clips):
    """Return clips as a report takes them."""
    into = lambda some: whitened(some, subject.model.whitening)  # noqa: E731
    return whole.Brought(clips=clips, into=into, name=clips.name, split="test")


def flat(sections):
    """Return all sections, also those folded away."""
    parts = []
    for section in sections:
        parts += flat(section.sections) if isinstance(section, Details) else [section]
    return parts


@pytest.fixture(scope="module")
def series(series_run):
    """Return clips, subject and sections of the series run."""
    clips = open_clips("series", "test").select(slice(0, 20))
    subject = subject_of(series_run, clips)
    run = read_run(series_run)
    return clips, subject, whole.report_sections(run, subject, 321, brought=brought(subject, clips), count=2)


def test_everything_is_on_the_page(series):
    _, _, sections = series
    headings = [part.heading for part in sections if isinstance(part, Text) and part.heading]
    assert headings == ["The model", "Training", "Reconstructions", "Swaps", "Traversals"]
    parts = flat(sections)
    words = " ".join(part.body for part in parts if isinstance(part, Text))
    assert "321 weights" in words
    assert "step 2 of 2" in words
    assert "cannot be shown" not in words
    captions = [part.caption for part in parts if isinstance(part, Figure)]
    for said in (
        "Loss of",
        "Learning rate",
        "Real clips",
        "Swaps, started",
        "The truth",
        "fresh noise:",
        "of s, found",
    ):
        assert any(said in caption for caption in captions), said
    settings = next(part for part in parts if isinstance(part, Table) and part.columns == ("setting", "value"))
    assert ("encoder.dynamic", "2") in settings.rows
    assert page("t", sections, contents=True).count("<figure>") == len(captions)


def test_pictures_say_where_they_come_from(series):
    _, _, sections = series
    swaps = next(part for part in flat(sections) if isinstance(part, Figure) and "Swaps, started" in part.caption)
    told = provenance(swaps.png)
    assert (told["recipe"], told["seed"]) == ("r", "2")
    assert len(json.loads(told["keys"])) == 4


def test_swaps_are_set_against_the_truth_and_against_copies(series):
    clips, subject, sections = series
    table = next(p for p in flat(sections) if isinstance(p, Table) and "to the truth" in p.caption)
    assert table.tones == ("", "", "baseline", "baseline")
    donors = take_apart(subject, clips, brought(subject, clips).into, 2)
    givers, takers = np.repeat(donors.rows[:2], 2), np.tile(donors.rows[2:], 2)
    wanted = truth(clips, givers, takers)
    copies = [float(((clips.x[rows] - wanted) ** 2).mean()) for rows in (takers, givers)]
    assert [float(row[1]) for row in table.rows[2:]] == pytest.approx(copies, rel=1e-3)


def test_what_is_sampled_is_what_the_verbs_sample(series):
    """The codes and seeds of a report are those of ``diffsda reconstruct``."""
    clips, subject, _ = series
    into = brought(subject, clips).into
    donors = take_apart(subject, clips, into, 2)
    some, track = np.arange(4), lambda total: iter
    few = into(clips.select(donors.rows))
    for start, noise in ((donors.codes, "own"), (None, "fresh")):
        mine = subject.sample(donors.factors[some], start, None, track)
        theirs = raw(reconstruct(subject.model, few, noise=noise, steps=2, seed=2), subject.model.whitening)
        assert np.allclose(mine, theirs, atol=1e-4)


def test_a_batch_changes_nothing(series):
    clips, subject, _ = series
    donors = take_apart(subject, clips, brought(subject, clips).into, 2)
    small = dataclasses.replace(subject, batch=1)
    track = lambda total: iter  # noqa: E731
    one, all_ = (s.sample(donors.factors, None, None, track) for s in (small, subject))
    assert np.allclose(one, all_, atol=1e-4)


def test_without_clips_there_are_curves_and_a_sentence(series_run, series):
    _, subject, _ = series
    sections = whole.report_sections(read_run(series_run), subject, 321, note="Mind the gap.")
    words = " ".join(part.body for part in flat(sections) if isinstance(part, Text))
    assert "No clips were named (--data)" in words
    assert "Mind the gap." in words
    assert [p.caption for p in flat(sections) if isinstance(p, Figure)] == [
        "Loss of the training.",
        "Learning rate over optimiser steps.",
    ]


def test_a_picture_that_cannot_be_drawn_is_a_sentence(series_run, series):
    clips, subject, _ = series

    def broken(x, lengths):
        return np.full_like(x, np.nan)

    bad = dataclasses.replace(subject, back=broken)
    sections = whole.report_sections(read_run(series_run), bad, 321, brought=brought(subject, clips), count=2)
    words = [part.body for part in flat(sections) if isinstance(part, Text)]
    for what in ("Reconstructions", "Swaps", "The walk along s"):
        assert any(said.startswith(f"{what}: cannot be shown (") and "not finite" in said for said in words), what


def test_a_loss_that_is_not_finite_is_said(series_run, series):
    run = read_run(series_run)
    log = [{**record, "loss": float("nan")} for record in run.log]
    words = " ".join(
        part.body
        for part in flat(whole.report_sections(dataclasses.replace(run, log=log), series[1], 1))
        if isinstance(part, Text)
    )
    assert "the loss there is not finite" in words
    assert "cannot be drawn (loss curve: none of 2 losses is finite" in words
    assert "no curves to draw" in whole.report_sections(dataclasses.replace(run, log=[]), series[1], 1)[2].body


def test_the_footer_names_what_decided_the_page(series_run, series):
    clips, subject, _ = series
    run = read_run(series_run)
    told = {name: str(words) for name, words in whole.footer(run, subject, brought(subject, clips), None).items()}
    assert run.recipe.digest in told["recipe"]
    assert run.digest in told["weights"]
    assert "seed 3" in told["training"]
    assert "torch" in told["trained with"]
    assert "seed 2, 2 solver steps" in told["report"]
    assert clips.fingerprint() in told["clips"]


def test_video_moves_too(video_run):
    pytest.importorskip("av")
    clips = open_clips("moving_shapes", "test").select(slice(0, 12))
    subject = subject_of(video_run, clips, films=True)
    assert subject.limits == (-1.0, 1.0)
    sections = whole.report_sections(read_run(video_run), subject, 1, brought=brought(subject, clips), count=1)
    films = [part for part in flat(sections) if isinstance(part, Film)]
    assert len(films) == 6
    html = page("t", sections, contents=True)
    assert html.count("<video") == 12
    assert len(html) < 8_000_000
    assert not re.search(r"(?:src|href|poster)=[\"'](?!data:|#)", html)


def test_large_frames_are_drawn_small(video_run):
    clips = open_clips("moving_shapes", "test").select(slice(0, 2))
    subject = subject_of(video_run, clips)
    assert subject.small(clips.x, 16) is clips.x
    x = clips.x.repeat(3, -1).repeat(3, -2)
    assert np.allclose(subject.small(x, 20), clips.x)


def test_without_pyav_films_are_left_out_with_a_sentence(monkeypatch):
    assert films_or_why(False) == (False, "")
    monkeypatch.setitem(sys.modules, "av", None)
    films, said = films_or_why(True)
    assert not films
    assert "pip install 'diffsda[video]'" in said


def test_colours_span_what_is_no_padding():
    clips = open_clips("series", "test").select(slice(0, 3))
    x = np.abs(clips.x) + 5
    padded = dataclasses.replace(clips, x=x, lengths=np.array([24, 3, 9]), labels={}, label_names={})
    low, high = extremes(padded)
    assert low >= 5
    assert high == pytest.approx(max(x[0].max(), x[1, :3].max(), x[2, :9].max()))
