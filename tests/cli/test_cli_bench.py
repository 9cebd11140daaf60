"""diffsda bench: numbers that belong together, a record that is never overwritten, errors in one line."""

import json

import pytest
import torch

from diffsda.bench import speed
from diffsda.bench.published.operations import flops, operations
from diffsda.bench.roofline import ADAMW_BYTES, Machine, roofline
from diffsda.presets import preset

QUICK = ("--rounds=2", "--steps=3", "--frames=4", "--batch=2")


@pytest.fixture(autouse=True)
def _in_a_room_with_a_known_machine(monkeypatch, room):
    """Measuring rates takes a second; the rates have a test of their own."""
    monkeypatch.chdir(room)
    monkeypatch.setattr(speed, "measured", lambda device, dtype: Machine(1e11, 1e10))


@pytest.mark.parametrize(
    ("what", "name", "evaluations"), [("train", "tiny_vector", 0), ("sample", "tiny_video", 5), ("latency", "demo", 5)]
)
def test_what_is_printed_is_what_is_kept(cli, room, what, name, evaluations):
    options = tuple(o for o in QUICK if o != "--batch=2") if what == "latency" else QUICK
    said = cli("bench", what, name, *options, "--out", room / "r.json")
    assert said.status == 0, said
    record = json.loads((room / "r.json").read_text())
    clips = 1 if what == "latency" else 2
    assert (record["what"], record["preset"], record["batch"], record["frames"]) == (what, name, clips, 4)
    times = record["milliseconds"]
    assert times["low"] <= times["median"] <= times["high"]
    assert record["clips_per_s"] == pytest.approx(1e3 * clips / times["median"])
    roof = record["roofline"]
    assert record["flops_per_s"] == pytest.approx(1e3 * roof["flops"] / times["median"])
    assert roof["share"] == pytest.approx(1e3 * roof["seconds"] / times["median"])
    assert record["memory_peak_bytes"] > 1e7
    lines = said.out.splitlines()
    assert f"{clips} clips of 4 frames" in lines[0]
    assert (f"{evaluations} evaluations" in lines[0]) == (evaluations > 0)
    assert "clips/s" in lines[1]
    assert "% reached" in said.out
    assert lines[-1] == str(room / "r.json")
    assert "bench: round 2/2" in said.err


def test_json_is_all_there_is_on_stdout_and_records_do_not_collide(cli, room):
    for _ in range(2):
        said = cli("bench", "train", "tiny_vector", *QUICK, "--json")
        assert json.loads(said.out)["how"]["route"] == "eager"
    assert len(list((room / "runs" / "bench").glob("train-tiny_vector-*.json"))) == 2


def test_a_profile_leaves_a_trace_and_a_table(cli, room):
    said = cli("bench", "sample", "tiny_vector", *QUICK, "--profile", room / "traces")
    assert (room / "traces" / "sample-tiny_vector.json").stat().st_size > 1000
    assert "x aten::" in said.out


REFUSED = [
    (["fly", "tiny_vector"], ["fly"]),
    (["latency", "tiny_vecto"], ["did you mean 'tiny_vector'?"]),
    (["latency", "tiny_vector", "--batch", "3"], ["batch: got 3", "use sample"]),
    (["sample", "tiny_vector", "--batch", "0"], ["--batch: got 0", "at least 1"]),
    (["sample", "tiny_vector", "--steps", "1"], ["sampling.steps: got 1"]),
    (["sample", "tiny_vector", "--device", "tpu"], ["device: got 'tpu'"]),
    (["sample", "tiny_vector", "--precision", "int8"], ["precision: got 'int8'", "bf16"]),
    (["sample", "tiny_vector", "--route", "graph", "--device", "cpu"], ["graphs need a CUDA device"]),
    (["sample", "tiny_vector", "--route", "eager", "--compile"], ["--compile", "one of the two"]),
    (["train", "tiny_vector", "--precision", "fp16"], ["precision: got 'fp16'", "tf32 or bf16"]),
    (["train", "tiny_vector", "--route", "graph", "--device", "cpu"], ["expected a CUDA device"]),
    (["train", "tiny_vector", "--route", "fast"], ["route: got 'fast'", "graph or compile"]),
    (["train", "tiny_vector", "--out", "no/where.json"], ["there is no folder no"]),
]


@pytest.mark.parametrize(("words", "found"), REFUSED)
def test_refusals_come_before_any_work(cli, refused, room, words, found):
    refused(cli("bench", *words), "bench", 2, *found)
    assert not list(room.iterdir())


def test_a_record_is_never_overwritten(cli, refused, room):
    (room / "r.json").write_text("mine")
    refused(cli("bench", "train", "tiny_vector", "--out", "r.json"), "bench", 2, "r.json", "never overwritten")
    assert (room / "r.json").read_text() == "mine"


def test_too_many_clips_are_one_line(cli, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(speed, "_measured", full)
    said = cli("bench", "train", "tiny_vector", "--batch", "9")
    assert said.status == 2
    assert said.err.strip().endswith("use a smaller --batch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there(cli, refused):
    refused(cli("bench", "train", "tiny_vector", "--device", "cuda"), "bench", 2, "device: got 'cuda'", "use cpu")


def test_the_roofline_is_bound_by_computing_or_by_moving():
    recipe = preset("tiny_vector")
    work = flops(operations(recipe, "sample", 2, 4))
    fast = roofline(recipe, "sample", 2, 4, Machine(1e9, 1e30), itemsize=4)
    assert (fast.flops, fast.seconds) == (work, pytest.approx(work / 1e9))
    slow = roofline(recipe, "sample", 2, 4, Machine(1e30, 1e9), itemsize=4)
    assert slow.seconds == pytest.approx(slow.moved / 1e9)
    assert roofline(recipe, "sample", 2, 4, Machine(1e9, 1e9), itemsize=2).moved == slow.moved / 2
    trained = roofline(recipe, "train", 2, 4, Machine(1e9, 1e9), itemsize=4, weights=1000)
    bare = roofline(recipe, "train", 2, 4, Machine(1e9, 1e9), itemsize=4)
    assert trained.moved - bare.moved == 1000 * ADAMW_BYTES
    assert trained.seconds - bare.seconds == pytest.approx(1000 * ADAMW_BYTES / 1e9)
    assert trained.about(2 * trained.seconds)["share"] == pytest.approx(0.5)


def test_rates_are_measured(monkeypatch):
    from diffsda.bench import roofline as module

    monkeypatch.setitem(module.COPIED, "cpu", 2**22)
    found = module.measured(torch.device("cpu"), torch.float32)
    assert 1e8 < found.flops_per_s < 1e15
    assert 1e8 < found.bytes_per_s < 1e14
