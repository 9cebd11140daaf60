"""Rows of the kernel benches: what is wrong is no speed, what fails says why, ratios come from the same rounds."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from wall_clock import WallClock

from diffsda.bench import kernel_cases, kernel_rows
from diffsda.bench.kernel_cases import COPY, OURS, Case, Peers, compiled_rows, difference, limited, rows
from diffsda.bench.timing import interleaved
from diffsda.kernels.cost import Cost

X = torch.linspace(1, 2, 50)
CASE = Case("op", "50", "float32", "forward", Cost(200, 200), {}, graph=True, goals=("g",))


def peers(**others):
    calls = {OURS: lambda: (X * 2,), "eager": lambda: (X + X,), COPY: lambda: (X.clone(),), **others}
    return Peers(calls, lambda: (X.double() * 2,), lambda: lambda: (X * 2,), {"apex": "not installed"})


def by_peer(found, timing="cold"):
    return {r["peer"]: r for r in found if r.get("timing", timing) == timing}


def test_rows_say_time_rate_share_and_error():
    found = list(rows(CASE, peers(), WallClock(), 1e9, rounds=5))
    cold, graph = by_peer(found), by_peer(found, "graph")
    row = cold[OURS]
    assert row["gb_per_s"] == pytest.approx(400 / row["milliseconds"] / 1e6)
    assert row["share"] == pytest.approx(row["gb_per_s"] * 1e9 / 1e9)
    assert row["low"] <= row["milliseconds"] <= row["high"]
    assert row["error"] < 1e-6
    assert (row["op"], row["case"], row["goals"]) == ("op", "50", ["g"])
    assert cold[COPY]["error"] is None
    assert cold["apex"] == {**kernel_cases.blank(CASE, "apex"), "skipped": "not installed"}
    assert set(graph) >= {OURS, "eager", COPY}


def test_a_wrong_result_is_no_speed():
    found = by_peer(rows(CASE, peers(wrong=lambda: (X * 2.01,), nan=lambda: (X * torch.nan,)), WallClock(), 1e9))
    for name in ("wrong", "nan"):
        assert found[name]["wrong"]
        assert "milliseconds" not in found[name]
    assert found["nan"]["error"] == kernel_cases.WORST
    assert "milliseconds" in found[OURS]


def test_a_failing_peer_says_why_and_the_others_go_on():
    def fails():
        raise RuntimeError("no kernel image\nmore")

    found = by_peer(rows(CASE, peers(broken=fails), WallClock(), 1e9))
    assert found["broken"]["failed"] == "RuntimeError: no kernel image"
    assert "milliseconds" in found["eager"]


def test_a_lost_device_ends_the_process():
    def lost():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        list(rows(CASE, peers(broken=lost), WallClock(), 1e9))


def test_the_compiled_reference_is_timed_beside_ours():
    (cold, graph) = compiled_rows(CASE, peers(), WallClock(), 1e9, 10)
    assert cold["ratio"] == pytest.approx(cold["milliseconds"] / cold["ours_milliseconds"])
    assert (cold["timing"], graph["timing"]) == ("cold", "graph")


def test_a_compilation_without_end_is_given_up():
    slow = peers()
    slow.compiled = lambda: time.sleep(30)
    (row,) = compiled_rows(CASE, slow, WallClock(), 1e9, 0.05)
    assert row["failed"].startswith("TimeoutError: not done within")
    with limited(5):
        pass  # The next limit starts afresh.
    time.sleep(0.06)


def test_differences_are_relative_and_the_largest_counts():
    a, b = torch.ones(4), torch.full((3,), 2.0)
    assert difference((a, b), (a, b)) == 0
    assert difference((a, b * 1.1), (a, b)) == pytest.approx(0.1, rel=1e-5)
    with pytest.raises(AssertionError, match="1 results, expected 2"):
        difference((a,), (a, b))


def test_rounds_go_around_in_turn():
    order = []
    calls = {n: lambda n=n: order.append(n) or {"a": 1.0, "b": 5.0}[n] for n in "ab"}
    times = interleaved(calls, rounds=3, warm=1)
    assert order == list("ab" * 4)
    assert (times["a"].median, times["b"].median) == (1.0, 5.0)


def test_gradients_are_compared_one_by_one():
    case = Case("op", "x", "float32", "backward", Cost(8, 8))
    x, w = torch.randn(3, 4), torch.randn(4)

    def good(x, w):
        return (x * w).sin()

    def bad(x, w):
        return (x * w).sin() + 0 * w + 0.01 * (w - w.detach())

    made = kernel_cases.differentiable(
        case, {OURS: (good, (x, w)), "eager": (good, (x, w)), "bad": (bad, (x, w))}, (good, (x, w)), torch.device("cpu")
    )
    del made.calls[COPY]
    found = by_peer(rows(case, made, WallClock(), 1e9, rounds=2))
    assert found[OURS]["error"] < 1e-6
    assert found["bad"]["wrong"]
    assert len(made.calls["eager"]()) == 2


def stand_in_bench(monkeypatch, make=lambda case, device: peers()):
    cases = [CASE, Case("op", "second", "float32", "forward", Cost(4, 4), {"compile": False})]
    monkeypatch.setattr(kernel_cases, "bench", lambda op: SimpleNamespace(cases=lambda: cases, peers=make))
    return torch.device("cpu"), WallClock(), 1e9


def test_an_operations_rows_come_in_two_passes(monkeypatch):
    where = stand_in_bench(monkeypatch)
    plain = list(kernel_rows.plain_rows("op", *where, lambda: 100))
    assert {r["case"] for r in plain if r["peer"] == OURS} == {"50", "second"}
    assert not [r for r in plain if r["peer"] == "compile"]
    compiled = list(kernel_rows.compiled_rows("op", *where, lambda: 100))
    assert {(r["case"], r["peer"]) for r in compiled} == {("50", "compile")}


def test_when_time_is_over_rows_say_so(monkeypatch):
    where = stand_in_bench(monkeypatch)
    for produce, left in ((kernel_rows.plain_rows, 0.0), (kernel_rows.compiled_rows, 20.0)):
        assert {r["skipped"] for r in produce("op", *where, lambda left=left: left)} == {"time over"}


def test_inputs_that_cannot_be_made_are_a_row(monkeypatch):
    def fails(case, device):
        raise MemoryError("no room")

    found = list(kernel_rows.plain_rows("op", *stand_in_bench(monkeypatch, fails), lambda: 100))
    assert [r["failed"] for r in found] == ["MemoryError: no room"] * 2


@pytest.mark.parametrize("op", kernel_cases.BENCHES)
def test_every_bench_lists_cases_with_bytes(op):
    found = kernel_cases.bench(op).cases()
    assert found
    assert all(case.op == op and case.cost.useful > 0 for case in found)
    names = [(case.name, case.dtype, case.direction) for case in found]
    assert len(set(names)) == len(names)
