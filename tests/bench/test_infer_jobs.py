"""Whole jobs in the benches: they do their work, leave nothing behind, and have their own line in record and table."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffsda.bench import tables
from diffsda.bench.cases import ONNX, OURS
from diffsda.bench.infer_cases import EVERYBODY, JOBS, Job
from diffsda.bench.record import summarise


def test_a_job_is_done_anew_each_time_and_leaves_nothing():
    job = Job.of("tiny_vector", 3, 2, 2)
    assert [job.do(OURS).done for _ in range(2)] == [3, 3]
    assert [path.name for path in Path(job.place.name).iterdir()] == ["clips"]
    (job.folder / "0.npz").write_bytes(b"broken")
    with pytest.raises(AssertionError, match="truncated"):
        job.do(OURS)


def test_ours_is_the_last_of_everybody_and_jobs_are_of_both_kinds():
    assert EVERYBODY[-1] == OURS
    assert ONNX in EVERYBODY
    assert {"vector", "video"} == {name.removeprefix("tiny_") for name in JOBS}


def raw(**others):
    about = {"what": "infer", "preset": "p", "batch": 12, "frames": 3, "threads": 2}
    return {"benchmarks": [{"extra_info": {**about, "others_s": others}, "stats": {"data": [3.0, 2.0, 4.0]}}]}


def test_throughput_is_in_record_and_table():
    row = summarise(raw(compiled=[1.5, 2.0, 1.0]))["infer/p"]
    assert row["clips_per_s"] == {"ours": 4.0, "compiled": 8.0}
    assert row["compiled_ratio"] == 2.0  # median of 2, 1, 4
    assert "onnxruntime_ratio" not in row
    assert "ratio" not in row
    about = {"device": "d", "threads": 2, "torch": "t", "date": "2000-01-01"}
    table = tables.bench_table([{"about": about, "rows": {"infer/p": row}}])
    assert "| infer/p | 12 x 3 | 4 ± 17% | 8 (2.00 x) |  |" in table
    assert "whole jobs" in table
