"""Records and tables: what was measured is what is printed."""

from __future__ import annotations

import json

import pytest

from diffsda.bench import cpu_goals, record, tables
from diffsda.bench.cases import CASES, SIZES, Case, denoise, encode, sample, threads, train
from diffsda.bench.record import spread, summarise
from diffsda.errors import InputError


def raw(**others) -> dict:
    about = {"what": "sample", "preset": "p", "flops": 5, "difference": 0.0, "batch": 2, "frames": 3, "threads": 2}
    taken = {"published": [6.0, 4.0, 9.0], "floor": [2.0, 1.5, 1.0], **others}
    return {
        "benchmarks": [
            {"extra_info": {**about, "others_s": taken, "floor_best_s": 0.9}, "stats": {"data": [3.0, 2.0, 3.0]}},
        ]
    }


def test_summarise_takes_best_rounds_and_paired_ratios():
    row = summarise(raw())["sample/p"]
    assert (row["ours_s"], row["published_s"], row["floor_s"]) == (2.0, 4.0, 0.9)
    assert (row["ours_median_s"], row["published_median_s"]) == (3.0, 6.0)
    assert row["ratio"] == 2.0  # median of 2, 2, 3
    assert row["over_floor"] == 1.5  # median of 1.5, 1.33, 3
    assert row["over_floor_best"] == pytest.approx(2 / 0.9)
    assert row["spread"]["floor"] == pytest.approx(0.25 / 1.5)
    assert (row["flops"], row["rounds"], row["threads"]) == (5, 3, 2)
    assert "compiled_ratio" not in row
    compiled = summarise(raw(compiled=[1.0, 2.0, 3.0]))["sample/p"]
    assert (compiled["compiled_ratio"], compiled["compiled_s"]) == (3.0, 1.0)
    assert compiled["compiled_over_floor"] == pytest.approx(4 / 3)


def test_rounds_must_be_pairs():
    with pytest.raises(ValueError, match="zip"):
        summarise(raw(compiled=[1.0]))
    assert spread([1.0]) == 0.0


def test_a_record_is_named_for_its_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "records_folder", lambda: tmp_path)
    path = record.write(summarise(raw()))
    assert path.name.startswith("threads-2-20")
    assert json.loads(path.read_text())["about"]["threads"] == 2


def test_bench_table_shows_goals_and_ratios():
    about = {"device": "d", "threads": 2, "torch": "t", "date": "2000-01-01"}
    rows = {f"sample/{n}": summarise(raw())["sample/p"] for n in ("timit", "etth1")}
    table = tables.bench_table([{"about": about, "rows": rows}, {"about": {**about, "threads": 1}, "rows": rows}])
    assert "| sample/timit | 2 x 3 | 3000 ± 8% | **2.00** |  |  | 1.50 |" in table
    assert "| 63-evaluation sample of timit, by its floor | <= 1.25 x its time | 1.50 (timit, 2000 ms) |" in table
    assert "**missed by 20.0%**" in table
    assert "no record" in table
    assert "2 threads, torch t" in table
    assert "1 thread, torch t" in table


def test_cpu_goals_need_every_row_they_speak_for():
    good = {"ratio": 1.02, "over_floor": 1.2, "ours_s": 0.5}
    names = [*cpu_goals.NEAR_FLOOR, "tiny_video"]
    rows = {f"encode/{n}": dict(good) for n in names} | {f"sample/{n}": dict(good) for n in names}
    found = {v.goal.name: v for v in cpu_goals.verdicts(rows)}
    assert found["encode"].words == "met"
    assert found["floor_etth1"].words == "met"
    assert found["published_etth1"].words == "missed by 79.2%"
    assert found["train_airq"].words == "no record"
    del rows["encode/timit"]
    assert {v.goal.name: v for v in cpu_goals.verdicts(rows)}["encode"].words == "no record"
    assert len(cpu_goals.summary(rows).splitlines()) == len(cpu_goals.GOALS)


@pytest.mark.parametrize("given", ["0", "two", "9999"])
def test_threads_are_a_number_of_cores(monkeypatch, given):
    monkeypatch.setenv("BENCH_THREADS", given)
    with pytest.raises(InputError, match="BENCH_THREADS"):
        threads()
    monkeypatch.setenv("BENCH_THREADS", "1")
    assert threads() == 1
    monkeypatch.setenv("BENCH_THREADS", "")
    assert threads() in (1, 2)


def test_fill_replaces_only_between_markers():
    text = "a\n<!-- table:x -->\nold\n<!-- /table:x -->\nb"
    filled = tables.fill(text, "x", "new")
    assert filled == "a\n<!-- table:x -->\nnew\n<!-- /table:x -->\nb"
    assert tables.fill(filled, "x", "new") == filled
    with pytest.raises(InputError, match="table:y"):
        tables.fill(text, "y", "new")


def test_demo_table_marks_missed_goals():
    names = [n for n in tables._SCORES if not n.startswith("closer")]
    result = dict.fromkeys(names, 0.5) | {"seed": 0, "seconds": 100.0, "accuracy_static": 0.98}
    result |= {f"trajectory_to_{x}_fresh_noise": 0.1 for x in ("static", "dynamic")}
    result |= {"trajectory_to_dynamic": 0.9}
    table = tables.demo_table({"about": {"torch": "t", "threads": 2}, "results": [result, {**result, "seed": 1}]})
    rows = {line.split(" | ")[0].strip("| "): line for line in table.splitlines() if line.startswith("| ")}
    assert "met" in rows["speaker read from s"]
    assert "**missed**" in rows["equal error rate of s"]
    assert "0.400" in rows["difference of these two cosines"]


@pytest.mark.parametrize("what", [encode, denoise, sample, train])
@pytest.mark.parametrize("preset", ["tiny_vector", "tiny_video"])
def test_both_ways_compute_the_same(what, preset):
    one = Case(preset, 2, 4, steps=3)
    expected, got = what(one, "published")(), what(one, "ours")()
    assert (expected - got).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("preset", CASES["sample"])
def test_samples_agree(preset):
    one = Case(preset, 1, SIZES[preset][1])
    expected, got = sample(one, "published")(), sample(one, "ours")()
    assert (expected - got).abs().max() <= 1e-4 * expected.abs().max()


def test_the_aot_table_takes_the_worst_of_each_target():
    row = {"op": "heun", "kernel": "k", "registers": 20, "stack": 0, "spills": 0, "shared_bytes": 0, "wide": True}
    rows = [
        {**row, "target": "sm_90"},
        {**row, "target": "sm_90", "registers": 33, "shared_bytes": 2048},
        {**row, "target": "sm_80"},
        {**row, "kernel": "small", "target": "sm_80", "wide": None},
        {**row, "kernel": "bad", "target": "sm_90", "wide": False, "spills": 7},
    ]
    table = tables.aot_table({"about": {"triton": "3", "date": "2000-01-01"}, "rows": rows})
    assert "| kernel | rows | sm_80 | sm_90 |" in table
    assert "| heun: k | 3 | 20 / 0 | 33 / 2 | none | yes |" in table
    assert "| heun: small | 1 | 20 / 0 | not meant for it | none | none marked |" in table
    assert "| heun: bad | 1 | not meant for it | 20 / 0 | 7 | **no** |" in table


def test_the_kernels_table_says_met_or_missed():
    row = {"op": "group_norm", "case": "c", "dtype": "bfloat16", "direction": "forward", "peer": "ours"}
    rows = [{**row, "goals": ["gn_forward"], "timing": "cold", "milliseconds": 1.0, "share": 0.8, "count": 1}]
    about = {"gpu": "G", "torch": "2", "triton": "3", "commit": "c", "date": "2000-01-01"}
    ceilings = {"copy_bytes_per_s": 4.3e12, "matmul_flops_per_s": 7.9e14}
    record = {"about": about, "ceilings": ceilings, "rows": rows, "partial": True}
    table = tables.kernels_table(record)
    assert ">= 92.0% | 80.0% (c) | **missed by 13.0%** |" in table
    assert "no record" in table
    assert "time was over" in table


def test_a_readme_gets_the_tables_it_has_places_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "records_folder", lambda: tmp_path)
    readme = tmp_path / "README.md"
    places = "<!-- table:{0} -->\n<!-- /table:{0} -->\n"
    readme.write_text("".join(places.format(name) for name in ("demo", "bench")))
    tables.main(str(readme))
    assert "make gpu" not in readme.read_text()
    readme.write_text("".join(places.format(name) for name in ("demo", "bench", "aot", "kernels")))
    tables.main(str(readme))
    assert "`make gpu` makes one" in readme.read_text()
    assert "`python -m diffsda.bench.aot` makes one" in readme.read_text()
