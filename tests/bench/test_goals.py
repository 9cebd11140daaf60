"""Goals: what rows say of them, and that nothing flatters."""

from __future__ import annotations

import pytest

from diffsda.bench.goals import GOALS, summary, verdicts


def row(goal, share=0.9, case="a", peer="ours", timing="cold", milliseconds=1.0, count=1, **others):
    known = {"op": "o", "case": case, "dtype": "bfloat16", "direction": "forward", "peer": peer, "goals": [goal]}
    return {**known, "share": share, "timing": timing, "milliseconds": milliseconds, "count": count, **others}


def verdict(rows, name):
    return next(v for v in verdicts(rows) if v.goal.name == name)


def test_without_rows_nothing_is_said():
    assert {v.words for v in verdicts([])} == {"no record"}
    assert {v.met for v in verdicts([])} == {None}


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.97, "met, with the stretch goal"), (0.92, "met"), (0.828, "missed by 10.0%"), (0.9199, "missed by 0.1%")],
)
def test_shares(share, words):
    assert verdict([row("gn_forward", share)], "gn_forward").words == words


def test_the_worst_case_counts_and_the_faster_of_our_kernels():
    rows = [row("gn_forward", 0.95), row("gn_forward", 0.80, "b", milliseconds=2.0)]
    assert verdict(rows, "gn_forward").found.value == 0.80
    rows.append(row("gn_forward", 0.93, "b", peer="gluon", milliseconds=1.7))
    found = verdict(rows, "gn_forward").found
    assert (found.value, found.where) == (0.93, "b")
    rows.append(row("gn_forward", 0.99, "b", peer="apex", milliseconds=0.1))
    assert verdict(rows, "gn_forward").found.value == 0.93


def test_sites_are_weighted_by_time_and_count():
    rows = [row("gn_sites", 0.9, "a", milliseconds=1.0, count=10), row("gn_sites", 0.5, "b", milliseconds=5.0, count=2)]
    found = verdict(rows, "gn_sites").found
    assert found.value == pytest.approx((10 * 0.9 + 10 * 0.5) / 20)
    assert found.milliseconds == 20


def test_some_of_the_sites_are_no_figure():
    rows = [row("gn_sites", 0.9)]
    missing = row("gn_sites", case="b") | {"skipped": "time over"}
    for name in ("milliseconds", "share", "timing"):
        missing.pop(name)
    assert verdict([*rows, missing], "gn_sites").found is None


def test_ratios_are_against_the_same_case_and_timing():
    rows = [
        row("gn_small", case="a", timing="graph", milliseconds=3.0),
        row("gn_small", case="a", timing="graph", milliseconds=2.5, peer="copy"),
        row("gn_small", case="b", timing="graph", milliseconds=1.0),
        row("gn_small", case="b", timing="cold", milliseconds=0.1, peer="copy"),
    ]
    assert verdict(rows, "gn_small").found.value == pytest.approx(1.2)
    assert verdict(rows, "gn_small").words == "met, with the stretch goal"


def test_times_in_a_graph():
    rows = [row("heun_step", milliseconds=0.005), row("heun_step", timing="graph", milliseconds=0.0039)]
    assert verdict(rows, "heun_step").found.value == pytest.approx(3.9)
    assert verdict(rows, "heun_step").met


def test_a_stretch_goal_may_be_a_time():
    assert verdict([row("adamw", 0.86, milliseconds=1.9)], "adamw").words == "met, with the stretch goal"
    assert verdict([row("adamw", 0.86, milliseconds=2.1)], "adamw").words == "met"


def test_the_least_gain_over_the_compiled_reference():
    others = {"peer": "compile", "ours_milliseconds": 1.0}
    rows = [row("x", ratio=2.0, **others), row("x", case="b", ratio=1.2, **others)]
    found = verdict(rows, "compile")
    assert found.found.value == 1.2
    assert "o b bfloat16 forward" in found.found.where
    assert found.words == "missed by 4.0%"


def test_the_summary_names_what_is_wrong():
    failed = {k: v for k, v in row("", peer="eager", failed="OutOfMemoryError: no").items() if k != "milliseconds"}
    wrong = {k: v for k, v in row("", peer="compile", wrong=True, error=0.5).items() if k != "milliseconds"}
    record = {
        "ceilings": {"copy_bytes_per_s": 4.3e12, "matmul_flops_per_s": 7.9e14},
        "tests": {"passed": 3, "failed": 1, "skipped": 0, "names": ["tests.gpu::test_x"], "late": True},
        "rows": [row("gn_forward", 0.5), failed, wrong],
    }
    text = summary(record)
    for words in (
        *("copy 4.30 TB/s | bf16 matmul 790 TFLOP/s", "3 passed, 1 failed", "(time over)", "FAILED tests.gpu::test_x"),
        *("WRONG o/a bfloat16 forward compile: error 5.0e-01", "FAILED o/a bfloat16 forward eager: OutOfMemory"),
        *("1 rows", "missed by 45.7%", "no record"),
    ):
        assert words in text
    assert len([line for line in text.splitlines() if any(g.words in line for g in GOALS)]) == len(GOALS)
