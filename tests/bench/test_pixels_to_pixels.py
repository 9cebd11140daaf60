"""Pixels to pixels, rehearsed small on the CPU: the job, its row, its goals, and the share of time without work."""

from __future__ import annotations

import pytest

from diffsda.bench import network_rows, pixels
from diffsda.bench.cases import Case
from diffsda.bench.network_goals import verdicts
from diffsda.bench.pixels import Scale, idle_share
from diffsda.firststage.recipe import FirstStage

STAGE = FirstStage(size=32, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=3, codes=16)
SMALL = Scale(pairs=3, tile=2, profiled=1)


@pytest.fixture
def small(monkeypatch):
    """A model of small latents under the name of a preset, and one round."""
    from diffsda.bench import cases
    from diffsda.presets import preset

    recipe = preset("tiny_video").replace(
        clips={"channels": 3, "size": 16, "latent": True},
        backbone={"width": 32, "multipliers": (1,), "blocks": 1, "attention": ()},
        encoder={"width": 32, "multipliers": (1,), "blocks": 1, "attention": (), "hidden": 8},
    )
    monkeypatch.setattr(cases, "recipe", lambda name: recipe)
    monkeypatch.setattr(pixels, "ROUNDS", 1)
    return Case("small", 1, 2, "cpu", 2)


def test_the_whole_way_on_a_processor(small, monkeypatch):
    row = pixels.row(small, STAGE, SMALL)
    assert row["clips_per_s"] > 0
    assert row["idle_share"] is None
    assert row["pairs"] == 3
    assert sum(row["tiles"].values()) >= 1
    monkeypatch.setattr(pixels, "configuration", lambda name: STAGE)
    monkeypatch.setattr(pixels, "Scale", lambda: SMALL)
    said = []
    found = network_rows.pixels_row(small, said.append)
    assert (found["case"], found["peer"]) == ("pixels/16", "infer")
    assert said[0] == {"starting": "infer", "case": "pixels/16"}
    assert {"at": "timing"} in said, "who is silent for long is taken for one that hangs"


def test_what_goes_wrong_is_a_row(small, monkeypatch):
    wide = FirstStage(size=32, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=5, codes=16)
    monkeypatch.setattr(pixels, "configuration", lambda name: wide)
    found = network_rows.pixels_row(small, lambda line: None)
    assert "latents of 3 channels" in found["failed"]


def test_time_without_work():
    assert idle_share([]) == 1.0
    assert idle_share([(0, 4), (1, 2), (4, 8)]) == 0.0
    assert idle_share([(6, 8), (0, 2), (1, 3), (7, 10)]) == pytest.approx(0.3)


def test_goals_of_the_row():
    row = {"case": "pixels/16", "peer": "infer", "clips_per_s": 17.0, "idle_share": 0.03}
    said = {v.goal.name: v for v in verdicts({"rows": [row], "ceilings": {}})}
    assert said["pixels"].words == "met"
    assert said["pixels_idle"].words == "missed by 50.0%"
    without = {v.goal.name: v for v in verdicts({"rows": [{**row, "idle_share": None}], "ceilings": {}})}
    assert without["pixels_idle"].words == "no record"
