"""What a folder of results keeps: whole lines, one owner, what failed, and room for nothing that does not belong."""

import json
import os
import threading
import time

import numpy as np
import pytest
from infer_jobs import assert_whole, bytes_of, clip, folder_of, infer, job_of, lines, model, session

from diffsda.data.arrays import write
from diffsda.errors import DiffSDAError, InputError, SaveError
from diffsda.export.infer import Settings, read_job, run, tasks
from diffsda.export.infer.results import BLOCK, Results
from diffsda.inference import Execution, Session


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "out", {"seed": 0})


def test_a_clip_that_changed_is_done_again_and_no_result_passes_for_another(tmp_path):
    job, out = folder_of(tmp_path / "job", 3), tmp_path / "out"

    def again():
        return run(session(), job, "encode", out, Settings(tile=1))

    assert (again().done, again().done) == (3, 0)
    before = bytes_of(out)
    write(job / "1.npz", {"x": clip(77)}, overwrite=True)
    later = time.time() + 5
    os.utime(job / "1.npz", (later, later))
    assert again().done == 1
    after = bytes_of(out)
    (name,) = [name for name in before if after[name] != before[name]]
    assert_whole(out, "012")
    write(job / "1.npz", {"x": np.full((5, 3), np.nan, np.float32)}, overwrite=True)
    later += 5
    os.utime(job / "1.npz", (later, later))
    assert list(again().failed) == ["1"]
    assert name not in bytes_of(out)
    assert_whole(out, "02")
    assert [line["key"] for line in lines(out, "failed.jsonl")] == ["1"]


def test_an_older_file_in_its_place_is_done_again_too(tmp_path):
    job, out = folder_of(tmp_path / "job", 2), tmp_path / "out"
    assert run(session(), job, "encode", out, Settings(tile=1)).done == 2
    before = bytes_of(out)
    write(job / "1.npz", {"x": clip(77)}, overwrite=True)
    os.utime(job / "1.npz", (1e9, 1e9))  # As a copy that keeps dates leaves it.
    assert run(session(), job, "encode", out, Settings(tile=1)).done == 1
    assert bytes_of(out) != before
    assert run(session(), job, "encode", out, Settings(tile=1)).done == 0
    bare = [{k: v for k, v in line.items() if k != "sources"} for line in lines(out)]
    (out / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in bare))
    assert run(session(), job, "encode", out, Settings(tile=1)).done == 0


TORN = [b"", b"{", b'{"key": "b"', b"x" * (2 * BLOCK + 5), b"\x00" * 100]


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("before", [b"", b'{"key": "a"}\n'])
def test_a_torn_line_is_as_if_not_written(results, torn, before):
    path = results.folder / "results.jsonl"
    path.write_bytes(before + torn)
    results.append("results.jsonl", {"key": "c\n\ud800"})
    assert path.read_bytes() == before + b'{"key": "c\\n\\ud800"}\n'


def test_a_result_counts_when_line_and_file_are_there(results):
    for key in "abc":
        results.append("results.jsonl", {"key": key, "file": f"clips/{key}.npz"})
    for name in ("a.npz", "b.npz", "d.npz"):
        (results.folder / "clips" / name).write_bytes(b"")
    with (results.folder / "results.jsonl").open("ab") as file:
        file.write(b'oops\n[1]\n{"key": 3}\n{"file": "clips/d.npz"}\n{"key": "d", "file": "clips/d.npz"}')
    assert set(results.done()) == {"a", "b"}


def test_failures_that_were_made_good_are_forgotten(results):
    for key, reason in (("a", "first"), ("b", "bad"), ("a", "second")):
        results.append("failed.jsonl", {"key": key, "reason": reason})
    results.append("results.jsonl", {"key": "b", "file": "clips/b.npz"})
    (results.folder / "clips" / "b.npz").write_bytes(b"")
    results.settle()
    assert lines(results.folder, "failed.jsonl") == [{"key": "a", "reason": "second"}]
    assert results.failed() == {"a": "second"}


def test_many_writers_leave_whole_lines(results):
    others = [results, Results(results.folder, {"seed": 0})]

    def add(i):
        for j in range(50):
            others[i % 2].append("results.jsonl", {"key": f"{i}/{j}", "long": "x" * (37 * j)})

    threads = [threading.Thread(target=add, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["key"] for line in lines(results.folder)) == sorted(
        f"{i}/{j}" for i in range(4) for j in range(50)
    )


def test_other_settings_are_refused_by_name(tmp_path):
    job = folder_of(tmp_path / "job", 2)
    infer(job, tmp_path / "out")
    before = bytes_of(tmp_path / "out"), lines(tmp_path / "out")
    for name, change in {
        "seed": {"seed": 1},
        "steps": {"steps": 2},
        "noise": {"noise": "own"},
        "tile": {"tile": 3},
        "task": {"task": "encode"},
        "as_is": {"as_is": True},
    }.items():
        with pytest.raises(InputError, match=rf"{name}: got .*, expected .* as in .*infer\.json.*use a new folder"):
            infer(job, tmp_path / "out", **change)
    with pytest.raises(InputError, match="model: got 'other', expected 'a digest'"):
        run(session(), job, "reconstruct", tmp_path / "out", Settings(tile=4, noise="fresh"), model="other")
    (tmp_path / "out" / "infer.json").write_text("{")
    with pytest.raises(InputError, match=r"infer\.json: is damaged"):
        infer(job, tmp_path / "out")
    assert (bytes_of(tmp_path / "out"), lines(tmp_path / "out")) == before


def test_another_precision_is_refused(tmp_path):
    job = folder_of(tmp_path / "job", 2)
    runner = session()
    infer(job, tmp_path / "out", "encode", runner)
    with pytest.raises(InputError, match=r"execution: got .*bf16.*, expected .*float32"):
        infer(job, tmp_path / "out", "encode", Session(model(), Execution(precision="bf16")))


def test_a_model_without_a_digest_is_known_by_what_it_makes(tmp_path):
    job = folder_of(tmp_path / "job", 2)
    assert run(session(), job, "encode", tmp_path / "out").done == 2
    assert run(session(), job, "encode", tmp_path / "out").skipped == 2
    with pytest.raises(InputError, match="model: got"):
        run(session(seed=1), job, "encode", tmp_path / "out")


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    job = folder_of(tmp_path / "job", 2)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"home: is a folder with other files \('thesis.tex'\)"):
        infer(job, tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is in the job's folder"):
        infer(job, job / "out")
    with pytest.raises(InputError, match="cannot be a folder for results"):
        infer(job, tmp_path / "home" / "thesis.tex")
    with pytest.raises(InputError, match="cannot be a folder for results"):
        infer(job, tmp_path / "home" / "thesis.tex" / "out")


def test_two_processes_on_the_same_part_are_one_too_many(tmp_path):
    job = folder_of(tmp_path / "job", 2)
    infer(job, tmp_path / "out", shard=(1, 2))
    results = Results(tmp_path / "out", json.loads((tmp_path / "out" / "infer.json").read_text()))
    part = tmp_path / "out" / "clips" / ".0123.part"
    with results.at_work(0, 2):
        part.write_bytes(b"half of a f")
        with pytest.raises(InputError, match="another process is at work on the same clips"):
            infer(job, tmp_path / "out", shard=(0, 2))
        assert infer(job, tmp_path / "out", shard=(1, 2)).skipped == 1
        assert part.exists(), "it is the other's"
    assert infer(job, tmp_path / "out", shard=(0, 2)).done == 1
    assert not part.exists(), "it is nobody's"


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_parts_that_there_are_not(tmp_path, shard):
    with pytest.raises(InputError, match="shard: got"):
        infer(folder_of(tmp_path / "job", 2), tmp_path / "out", shard=shard)
    assert not (tmp_path / "out").exists()


def test_broken_clips_fail_and_the_rest_goes_on(tmp_path):
    job = folder_of(tmp_path / "job", 3)
    nan = np.stack([clip(i) for i in range(3)])
    nan[1, 2, 0] = np.inf
    write(job / "nan.npz", {"x": nan})
    write(job / "wide.npy", {"x": np.zeros((5, 4), np.float32)})
    write(job / "short.npy", {"x": clip(0)[:1]})
    write(job / "flat.npy", {"x": np.zeros(5, np.float32)})
    write(job / "ints.npy", {"x": np.zeros((5, 3), np.int32)})
    write(job / "named.npz", {"y": clip(0)})
    write(job / "lengths.npz", {"x": nan[:1], "lengths": np.array([2, 3])})
    (job / "cut.npz").write_bytes((job / "0.npz").read_bytes()[:-30])
    (job / "empty.safetensors").write_bytes(b"")
    told = [{"key": path.stem, "path": str(path)} for path in sorted(job.iterdir())]
    told += [{"key": "gone", "path": "gone.npz"}, {"key": "movie", "path": "a.txt"}, {"key": "dir", "path": "job"}]
    path = job_of(tmp_path / "job.jsonl", told)
    summary = infer(path, tmp_path / "out")
    reasons = {
        "nan/1": r"nan.npz clip 1: x[0, 2, 0]: got inf, expected a finite number",
        "wide": "got 4 features",
        "short": "got 1 frame",
        "flat": "x: got shape (5,)",
        "ints": "got int32 values",
        "named": "no array 'x'",
        "lengths/0": "lengths: got shape (2,), expected (1,)",
        "cut": "cut.npz: ",
        "empty": "empty.safetensors: ",
        "gone": "no such file",
        "movie": "got suffix '.txt', expected one of .npz",
        "dir": "got suffix 'none'",
    }
    assert set(summary.failed) == set(reasons)
    held = {line["key"]: line["reason"] for line in lines(tmp_path / "out", "failed.jsonl")}
    assert held == summary.failed
    for key, words in reasons.items():
        assert words in held[key], (key, held[key])
        assert "\n" not in held[key]
    assert_whole(tmp_path / "out", ["0", "1", "2", "nan/0", "nan/2"])
    # What is mended is done, what is not fails again, and neither is told twice.
    write(job / "cut.npz", {"x": clip(9)}, overwrite=True)
    again = infer(path, tmp_path / "out")
    assert (again.skipped, again.done, set(again.failed)) == (5, 1, set(reasons) - {"cut"})
    assert sorted(line["key"] for line in lines(tmp_path / "out", "failed.jsonl")) == sorted(again.failed)


def test_what_a_task_refuses_fails_by_clip(tmp_path):
    clips = folder_of(tmp_path / "clips", 4)
    pairs = [(0, 1), (0, 2), (2, 2)]
    told = [
        {"key": f"{i}-{j}", "static": str(clips / f"{i}.npz"), "dynamic": str(clips / f"{j}.npz")} for i, j in pairs
    ]
    summary = infer(job_of(tmp_path / "job.jsonl", told), tmp_path / "out", "swap", noise="static")
    assert summary.done == 2
    assert list(summary.failed) == ["0-2"]
    assert "expected as many frames" in summary.failed["0-2"]


def test_a_donor_is_one_clip(tmp_path):
    write(tmp_path / "two.npy", {"x": np.stack([clip(0), clip(1)])})
    write(tmp_path / "one.npy", {"x": clip(0)[None]})
    told = [{"key": a, "static": f"{a}.npy", "dynamic": "one.npy"} for a in ("one", "two")]
    summary = infer(job_of(tmp_path / "job.jsonl", told), tmp_path / "out", "swap")
    assert (summary.done, list(summary.failed)) == (1, ["two"])
    assert "two.npy: got 2 clips, expected one" in summary.failed["two"]


def test_a_result_that_is_not_finite_fails(tmp_path, monkeypatch):
    job = folder_of(tmp_path / "job", 3)
    real = tasks.Reconstruct.run

    def bad(self, runner, given, seeds):
        made = real(self, runner, given, seeds)["x"]
        made[np.isclose(given[0], (clip(1)[0, 0] - 3.0) * 0.25).any((1, 2))] = float("nan")
        return {"x": made}

    monkeypatch.setattr(tasks.Reconstruct, "run", bad)
    summary = infer(job, tmp_path / "out")
    assert summary.failed == {"1": "x: the model gave a value that is not finite"}
    assert_whole(tmp_path / "out", ["0", "2"])


def test_a_tile_too_large_for_memory_is_told(tmp_path, monkeypatch):
    runner = session()
    real = tasks.Encode.run

    def shrink(self, given_session, given, seeds):
        runner._tiles.largest = 7
        return real(self, given_session, given, seeds)

    monkeypatch.setattr(tasks.Encode, "run", shrink)
    with pytest.raises(DiffSDAError, match=r"tile: got 4 clips, for which memory ran out.*choose a smaller --tile"):
        infer(folder_of(tmp_path / "job", 4, frames=(5,)), tmp_path / "out", "encode", runner)
    assert lines(tmp_path / "out") == []


def test_a_line_that_does_not_fit_is_not_begun(results, monkeypatch):
    results.append("results.jsonl", {"key": "a"})
    real = os.pwrite
    calls = []

    def full(number, data, at):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(number, data[:3], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(SaveError, match=r"results.jsonl: could not be written \(No space left on device\)"):
        results.append("results.jsonl", {"key": "b"})
    monkeypatch.undo()
    assert (results.folder / "results.jsonl").read_bytes() == b'{"key": "a"}\n'
    assert len(calls) == 2


def test_a_job_read_before_is_the_same_job(tmp_path):
    job = folder_of(tmp_path / "job", 3)
    said = []
    how = Settings(readers=1, writers=1)
    summary = run(session(), read_job(job), "encode", tmp_path / "out", how, progress=lambda *n: said.append(n))
    assert said == [(1, 3), (2, 3), (3, 3)]
    assert summary.to_dict()["done"] == 3
    assert summary.clips_per_s > 0
