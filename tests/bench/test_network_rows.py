"""Contestants of the network benches: on the CPU and tiny presets they compute the same; rows say what was timed."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from diffsda.bench import executions, network_cases, network_rows, profiled
from diffsda.bench.floor import Operation
from diffsda.bench.network_cases import (
    COMPILE,
    EAGER,
    FIXED,
    FLOOR,
    FLOOR_PLAIN,
    GRAPH,
    ONNX,
    PACKAGE,
    PUBLISHED,
    TENSORRT,
    Absent,
    Setting,
    make,
    relative,
)
from diffsda.bench.network_rows import interleaved, timed_rows
from diffsda.train.graph import WARM_UP

SMALL = {what: Setting(what, 2, 3, steps=3) for what in ("denoise", "sample", "train")}
PRESETS = ("tiny_video", "tiny_vector")


@pytest.fixture
def quiet():
    """Return a place for what is said."""
    said = []
    return SimpleNamespace(said=said, say=said.append)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("what", SMALL)
def test_everyone_computes_the_same(what, preset):
    one = SMALL[what].case(preset, "cpu")
    expected = make(PUBLISHED, SMALL[what], one)()
    assert relative(make(EAGER, SMALL[what], one)(), expected) < 1e-5
    assert 0 < relative(make(FIXED, SMALL[what], one)(), expected) < 2e-2  # bf16


@pytest.mark.slow
@pytest.mark.parametrize("who", [COMPILE, PACKAGE, ONNX])
def test_the_compiled_network_computes_the_same(who):
    setting = SMALL["denoise"]
    one = setting.case("tiny_video", "cpu")
    call = make(who, setting, one)
    assert relative(call(), make(PUBLISHED, setting, one)()) < 1e-5
    if who == PACKAGE:
        assert set(call.seconds) == {"build_seconds", "load_seconds"}


@pytest.mark.slow
@pytest.mark.parametrize("what", SMALL)
def test_the_published_network_compiles_after_free_fixes(what, monkeypatch):
    monkeypatch.setitem(network_cases.MODES, FIXED, "default")
    one = SMALL[what].case("tiny_vector", "cpu")
    expected = make(PUBLISHED, SMALL[what], one)()
    assert relative(make(FIXED, SMALL[what], one)(), expected) < 2e-2


def test_training_steps_go_on_where_the_last_one_ended():
    one = SMALL["train"].case("tiny_vector", "cpu")
    calls = [make(who, SMALL["train"], one) for who in (PUBLISHED, FIXED)]
    for _ in range(3):
        losses = [float(call()) for call in calls]
        assert losses[0] == pytest.approx(losses[1], rel=2e-2)


@pytest.mark.parametrize(("who", "reason"), [(GRAPH, "CUDA"), (TENSORRT, "CUDA"), (FLOOR, "computes nothing")])
def test_who_cannot_take_part_says_why(who, reason):
    setting = SMALL["denoise"]
    with pytest.raises(Absent, match=reason):
        make(who, setting, setting.case("tiny_vector", "cpu"))


def test_nothing_that_is_no_number_counts_as_close():
    assert relative(torch.tensor([float("nan")]), torch.ones(1)) == 1e30
    assert relative(torch.full((4,), 3.0), torch.full((4,), 2.0)) == 0.5


def test_rows_hold_times_ratios_and_floors(quiet):
    setting = SMALL["sample"]
    one = setting.case("tiny_vector", "cpu")
    peers = (GRAPH, EAGER, PUBLISHED, FLOOR, FLOOR_PLAIN)
    rows = {r["peer"]: r for r in timed_rows("s", setting, peers, one, quiet.say, lambda: 100.0, 3)}
    said = [m["starting"] for m in quiet.said]
    ready, first = len(peers) + 2, peers[1:]  # what all are compared with is made once, after the first of them
    assert said[:ready] == [GRAPH, EAGER, PUBLISHED, EAGER, PUBLISHED, FLOOR, FLOOR_PLAIN]
    assert said[ready:] == list(first) * 4
    assert rows[GRAPH] == {"case": "s", "peer": GRAPH, "skipped": "no CUDA device"}
    for who in peers[1:]:
        row = rows[who]
        assert row["low"] <= row["milliseconds"] <= row["high"]
        assert (row["rounds"], row["anchor"]) == (3, EAGER)
        assert row["clips_per_s"] == pytest.approx(2000 / row["milliseconds"])
        assert row["flops_per_s"] == pytest.approx(row["flops"] / row["milliseconds"] * 1e3)
    assert rows[EAGER]["by_anchor"] == 1.0
    assert rows[FLOOR]["by_anchor"] < 1
    assert rows[FLOOR]["operations"][0]["way"] == "product"
    json.dumps(rows)


def test_what_is_wrong_or_fails_gets_no_time_and_stops_nobody(quiet, monkeypatch):
    setting = SMALL["denoise"]
    one = setting.case("tiny_vector", "cpu")

    def stand_in(who, setting, one):
        if who == FIXED:
            raise RuntimeError("does not compile\nat all")
        real = make(who, setting, one)
        return (lambda: 2 * real()) if who == EAGER else real

    monkeypatch.setattr(network_cases, "make", stand_in)
    peers = (EAGER, FIXED, PUBLISHED)
    rows = {r["peer"]: r for r in timed_rows("d", setting, peers, one, quiet.say, lambda: 100.0, 1)}
    assert rows[EAGER]["wrong"]
    assert rows[EAGER]["error"] == pytest.approx(1.0)
    assert "milliseconds" not in rows[EAGER]
    assert rows[FIXED]["failed"] == "RuntimeError: does not compile"
    assert "milliseconds" in rows[PUBLISHED]
    assert "by_anchor" not in rows[PUBLISHED]  # nobody of ours is there to compare with


def test_rounds_are_interleaved_and_end_with_the_time():
    order = []

    def clock(name):
        return lambda: order.append(name) or float(len(order))

    taken, lost = interleaved({"a": clock("a"), "b": clock("b")}, 2, lambda: 1.0)
    assert not lost
    assert order == ["a", "b"] * 3
    assert taken == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    assert [len(v) for v in interleaved({"a": clock("a")}, 9, lambda: -1.0)[0].values()] == [1]


def test_who_fails_in_the_rounds_is_named_and_the_rest_goes_on(quiet):
    def broken():
        raise ValueError("at the second call")

    def lost():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    names = []
    taken, fell = interleaved({"a": lambda: 1.0, "b": broken}, 1, lambda: 1.0, names.append)
    assert (taken, fell) == ({"a": [1.0]}, {"b": "ValueError: at the second call"})
    assert names == ["a", "b", "a"]
    with pytest.raises(RuntimeError, match="illegal"):
        interleaved({"a": lambda: 1.0, "b": lost}, 1, lambda: 1.0, names.append)
    assert names[-1] == "b"


def test_where_time_is_short_those_who_are_ready_are_timed(quiet):
    setting = SMALL["denoise"]
    one = setting.case("tiny_vector", "cpu")
    rows = {r["peer"]: r for r in timed_rows("d", setting, (FLOOR, EAGER, FIXED), one, quiet.say, lambda: 1.0, 1)}
    assert rows[EAGER]["milliseconds"] > 0
    assert rows[FLOOR]["skipped"] == rows[FIXED]["skipped"] == "time over"


def test_a_training_graph_is_made_before_the_clock_runs(quiet, monkeypatch):
    setting, calls = SMALL["train"], []
    real = network_rows.stopwatch

    def counted(call, device):
        calls.append(len(steps))
        return real(call, device)

    steps = []
    monkeypatch.setattr(network_cases, "make", lambda who, setting, one: lambda: steps.append(1) or torch.ones(1))
    monkeypatch.setattr(network_rows, "stopwatch", counted)
    list(timed_rows("t", setting, (PUBLISHED,), setting.case("tiny_vector", "cpu"), quiet.say, lambda: 100.0, 1))
    assert calls == [WARM_UP + 3], "its first result, what that is compared with, and the first steps"


def test_who_finds_no_memory_beside_others_falls_out(quiet, monkeypatch):
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory\nlong")

    taken, lost = interleaved({"a": lambda: 1.0, "b": full}, 2, lambda: 1.0)
    assert (taken, lost) == ({"a": [1.0, 1.0]}, {"b": "OutOfMemoryError: CUDA out of memory"})
    monkeypatch.setattr(network_rows, "stopwatch", lambda call, device: full)
    setting = SMALL["denoise"]
    one = setting.case("tiny_vector", "cpu")
    rows = {r["peer"]: r for r in timed_rows("d", setting, (EAGER, FLOOR), one, quiet.say, lambda: 100.0, 1)}
    assert "OutOfMemory" in rows[EAGER]["failed"]
    assert rows[FLOOR]["milliseconds"] > 0


def test_samples_are_compared_in_both_precisions(quiet):
    one = SMALL["sample"].case("tiny_video", "cpu")
    rows = list(network_rows.equality_rows(one, quiet.say))
    assert [(r["case"], r["bound"]) for r in rows] == [("equality float32", 1e-4), ("equality bf16", 2e-2)]
    assert not any(r["wrong"] for r in rows)
    assert rows[0]["error"] < rows[1]["error"]


def test_the_command_prints_rows_of_every_kind(tmp_path, capsys):
    options = ["--preset", "tiny_vector", "--device", "cpu", "--frames", "3", "--steps", "3", "--rounds", "1"]
    cases = ["--cases", "evaluation/1", "--peers", EAGER, TENSORRT]
    assert network_rows.main([*options, *cases]) == 0
    assert network_rows.main([*options, *cases, "--kind", "profile", "--trace", str(tmp_path / "new")]) == 0
    assert network_rows.main([*options, *cases, "--kind", "ready"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    rows = [m["row"] for m in said if "row" in m]
    assert [(r["case"], r["peer"]) for r in rows] == [
        *(("evaluation/1", TENSORRT), ("evaluation/1", EAGER)),
        *((f"{kind} evaluation/1", who) for kind in ("profile", "ready") for who in (EAGER, TENSORRT)),
    ]
    assert (tmp_path / "new" / "evaluation-1-eager.json").stat().st_size > 1000
    assert rows[2]["kernels"][0]["share"] > 0
    assert "no CUDA device" in rows[3]["failed"]


def test_the_longest_kernels_come_first():
    a = torch.randn(200, 200)
    found = profiled.profile(lambda: (a @ a, a + 1), torch.device("cpu"))
    names = [row["kernel"] for row in found["kernels"]]
    assert names[0] == "aten::mm"
    assert "aten::add" in names
    assert sum(row["share"] for row in found["kernels"]) == pytest.approx(1.0)
    assert "aten::mm" in profiled.lines(found)[1]


@pytest.mark.slow
def test_inductors_own_kernels_take_part_in_the_floor():
    here = torch.device("cpu"), torch.float32
    for op in (Operation("conv", (1, 4, 6, 6, 8, 3, 1), "weight"), Operation("product", (1, 4, 5, 6), "both")):
        ways = executions.tuned(op, *here)
        assert len(ways) == len(executions.parts(op, *here))
        assert ways[0]["inductor"]().shape[-1] == 6
