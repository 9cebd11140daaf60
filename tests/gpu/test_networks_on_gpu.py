"""Contestants of the network benches on a CUDA device: graphs and autocast compute what the published model does."""

from __future__ import annotations

import json

import pytest

from diffsda.bench import network_rows
from diffsda.bench.network_cases import EAGER, FIXED, FLOOR, GRAPH, PUBLISHED, Setting, make, relative

pytestmark = pytest.mark.gpu
SETTINGS = {what: Setting(what, 2, 3, steps=3) for what in ("denoise", "sample", "train")}


@pytest.mark.parametrize("what", SETTINGS)
@pytest.mark.parametrize("who", [GRAPH, EAGER, FIXED])
def test_everyone_computes_the_same(who, what):
    one = SETTINGS[what].case("tiny_video", "cuda")
    expected = make(PUBLISHED, SETTINGS[what], one)().clone()
    call = make(who, SETTINGS[what], one)
    for _ in range(2 if what != "train" else 1):
        assert relative(call(), expected) < 3e-2  # bf16


def test_rows_come_with_times_memory_and_a_floor(capsys):
    options = ["--preset", "tiny_video", "--frames", "2", "--steps", "3", "--rounds", "2"]
    peers = ["--peers", GRAPH, PUBLISHED, FLOOR]
    assert network_rows.main([*options, "--cases", "evaluation/16", "train/16", *peers]) == 0
    assert network_rows.main([*options, "--cases", "sample/1", "--peers", GRAPH, "--kind", "memory"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    rows = [m["row"] for m in said if "row" in m]
    assert [r["peer"] for r in rows] == [GRAPH, PUBLISHED, FLOOR] * 2 + [GRAPH]
    assert all(r["milliseconds"] > 0 and r["anchor"] == GRAPH for r in rows[:6])
    assert rows[6]["peak_bytes"] > 0
