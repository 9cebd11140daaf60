"""``diffsda infer``: what it prints and returns, stopped, short of disk, and in two processes."""

import json
import signal
import socket
import sys
import time

import numpy as np
import pytest
import torch
from infer_jobs import assert_whole, bytes_of, clip, finish, folder_of, infer, job_of, lines, model, model_file, start

from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.inference import Session


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a model and nine clips, and results that nobody disturbed."""
    folder = tmp_path_factory.mktemp("shelf")
    model_file(folder / "model.safetensors")
    folder_of(folder / "clips", 9)
    infer(folder / "clips", folder / "whole", runner=Session(model()))
    return folder


def words(shelf, out, *more, job=None):
    model = ["--model", str(shelf / "model.safetensors"), "--device", "cpu", "--tile", "4"]
    return [str(job or shelf / "clips"), *model, "--task", "reconstruct", "--noise", "fresh", "--out", str(out), *more]


def test_a_job_from_end_to_end(shelf, tmp_path, capsys):
    assert main(["infer", *words(shelf, tmp_path / "out")]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'out'}\n", "")
    assert bytes_of(tmp_path / "out") == bytes_of(shelf / "whole")
    assert main(["infer", *words(shelf, tmp_path / "out", "--json")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["clips"], said["done"], said["skipped"], said["failed"]) == (9, 0, 9, {})


def test_a_clip_that_fails_is_status_1(shelf, tmp_path, capsys):
    told = [{"key": "good", "path": str(shelf / "clips" / "0.npz")}, {"key": "b\x1b[2J\u202e", "path": "gone.npz"}]
    job = job_of(tmp_path / "job.jsonl", told)
    assert main(["infer", *words(shelf, tmp_path / "out", job=job)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out'}\n"
    assert err.startswith(
        f"1 of 2 clips failed, see {tmp_path / 'out' / 'failed.jsonl'}; the first, 'b\\x1b[2J\\u202e'"
    )
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert_whole(tmp_path / "out", ["good"])


BAD = [
    (["--shard", "2"], "--shard: got '2', expected I/N"),
    (["--shard", "2/2"], "shard: got 2/2"),
    (["--tile", "0"], "tile: got 0"),
    (["--seed", "-1"], "seed: got -1"),
    (["--steps", "1"], "steps: got 1"),
    (["--noise", "static"], "noise: got 'static', expected one of own, fresh for reconstruct"),
    (["--readers", "0"], "--readers: got 0"),
    (["--task", "paint"], "'paint'"),
    (["--task", "swap"], "expected a JSON-lines file with key, static, dynamic"),
]


@pytest.mark.parametrize(("more", "text"), BAD)
def test_options_that_are_refused(shelf, tmp_path, capsys, more, text):
    assert main(["infer", *words(shelf, tmp_path / "out", *more)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("diffsda infer: error: ")
    assert text in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_job_is_refused_before_the_model_is_read(shelf, tmp_path, capsys):
    (tmp_path / "job.jsonl").write_text('{"key": "a", "path": "a.npz"}\n{"key": "a"')
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    (tmp_path / "clips").mkdir()
    said = ["infer", *words(tmp_path, tmp_path / "out", job=tmp_path / "job.jsonl")]
    assert main(said) == 2
    assert "job.jsonl:2: got a line that is not JSON" in capsys.readouterr().err
    assert main(["infer", *words(tmp_path, tmp_path / "out")]) == 2
    assert "got nothing to do" in capsys.readouterr().err


def test_another_model_is_refused(shelf, tmp_path, capsys):
    from diffsda.checkpoint import save

    assert main(["infer", *words(shelf, tmp_path / "out")]) == 0
    save(model(seed=1), tmp_path / "model.safetensors")
    (tmp_path / "clips").mkdir()
    assert main(["infer", *words(tmp_path, tmp_path / "out", job=shelf / "clips")]) == 2
    assert "error: model: got '" in capsys.readouterr().err
    assert bytes_of(tmp_path / "out") == bytes_of(shelf / "whole")


def many(folder, count=200):
    """A job of many clips, in one file."""
    folder.mkdir()
    write(folder / "many.npz", {"x": np.stack([clip(i) for i in range(count)])})
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(number, shelf, tmp_path):
    job = many(tmp_path / "many")
    process = start(*words(shelf, tmp_path / "out", "--steps", 20, job=job))
    log = tmp_path / "out" / "results.jsonl"
    deadline = time.monotonic() + 100
    while not (log.is_file() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    status, out, err = finish(process)
    assert status == 128 + number, err
    assert out == f"{tmp_path / 'out'}\n"
    made = len(lines(tmp_path / "out"))
    assert 0 < made < 200
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert err.splitlines()[-1] == f"{word} with {200 - made} clips to do; the same command goes on"
    assert_whole(tmp_path / "out", [line["key"] for line in lines(tmp_path / "out")])
    infer(job, tmp_path / "straight", runner=Session(model()), steps=20)
    again = start(*words(shelf, tmp_path / "out", "--steps", 20, "--json", job=job))
    status, out, err = finish(again)
    assert (status, err) == (0, "")
    assert json.loads(out)["skipped"] == made
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "straight")
    assert_whole(tmp_path / "out", [f"many/{i}" for i in range(200)])


LIMITED = """
import resource, sys
limit = int(sys.argv[1])
from diffsda.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize(("limit", "name"), [(100, "infer.json"), (700, "results.jsonl")])
def test_a_full_disk(limit, name, shelf, tmp_path):
    said = start(limit, "infer", *words(shelf, tmp_path / "out"), code=LIMITED)
    status, out, err = finish(said)
    assert (status, out) == (1, ""), err
    assert err.startswith("diffsda infer: error: ")
    assert f"{name}: could not be written (File too large)" in err
    assert err.count("\n") == 1
    made = lines(tmp_path / "out")
    assert len(made) == (0 if limit == 100 else 3)
    if made:
        assert (tmp_path / "out" / "results.jsonl").read_bytes().endswith(b"}\n")
    assert not list(tmp_path.rglob("*.part"))
    assert main(["infer", *words(shelf, tmp_path / "out")]) == 0
    assert lines(tmp_path / "out")[: len(made)] == made, "nothing is lost, nor done again"
    assert bytes_of(tmp_path / "out") == bytes_of(shelf / "whole")
    assert_whole(tmp_path / "out", [str(i) for i in range(9)])


@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="needs gloo"
)
def test_two_processes_part_a_job(shelf, tmp_path):
    """The first has nothing but clips that fail: it waits for the second, which torchrun would else stop."""
    told = []
    for i in range(20):
        write(tmp_path / f"{i}.npy", {"x": clip(i)})
        told += [{"key": f"even {i}", "path": "gone.npy"}, {"key": f"odd {i}", "path": f"{i}.npy"}]
    job = job_of(tmp_path / "job.jsonl", told)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", "2"]
    torchrun += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    slow = ["--steps", "300", "--tile", "1"]
    status, out, err = finish(start(*words(shelf, tmp_path / "out", *slow, job=job), torchrun=torchrun))
    assert status != 0
    assert "20 of 20 clips failed" in err
    assert "clips to do" not in err
    assert out.splitlines() == [str(tmp_path / "out")]
    assert_whole(tmp_path / "out", [f"odd {i}" for i in range(20)])
    failed = sorted(line["key"] for line in lines(tmp_path / "out", "failed.jsonl"))
    assert failed == sorted(f"even {i}" for i in range(20))
    assert sorted(path.name for path in (tmp_path / "out").glob(".lock-?-*")) == [".lock-0-of-2", ".lock-1-of-2"]
    few = job_of(tmp_path / "few.jsonl", told[1:7:2])
    infer(few, tmp_path / "one", runner=Session(model()), steps=300, tile=1)
    assert bytes_of(tmp_path / "one").items() <= bytes_of(tmp_path / "out").items()
