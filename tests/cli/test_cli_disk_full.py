"""A disk that fills up while a verb saves: old files stay whole, nothing half-written is left."""

import contextlib
import json
import os
import resource

import numpy as np
import pytest
from shelf import SHAPES, vectors

from diffsda.checkpoint import load
from diffsda.data.arrays import write

TINY = ["--clips.channels", 3, "--backbone.width", 4, "--encoder.width", 4, "--encoder.hidden", 6]
TINY += ["--optim.batch", 2, "--optim.steps", 4]

LIMITED = """
import contextlib, io, json, resource, sys
from diffsda.cli import main
limit, calls = json.loads(sys.stdin.read())
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
said = []
for words in calls:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    said.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def many(tmp_path):
    """Return clips whose factors fill more than a page or two."""
    write(tmp_path / "many.npz", {"x": vectors((300, *SHAPES["vector"][1:]))})
    return tmp_path / "many.npz"


def verbs(shelf, many, golden, folder):
    """Return the words that write each kind of file into a folder, by verb."""
    model = shelf / "vector.safetensors"
    return {
        "encode": ["encode", model, many, "--out", folder / "z.npz"],
        "swap": ["swap", model, many, many, "--noise", "fresh", "--steps", 2, "--out", folder / "x.safetensors"],
        "import": ["import", golden / "timeseries.weights.safetensors", "--out", folder / "m.safetensors"],
        "train": ["train", "tiny_vector", *TINY, "--data", shelf / "vector.npz", "--out", folder / "run"],
    }


def begin(cli, folder, words):
    """Put old files where the verbs will write, and a run that was stopped half way."""
    for name in ("z.npz", "x.safetensors", "m.safetensors"):
        (folder / name).write_bytes(b"precious " + name.encode())
    assert cli(*words["train"], "--until", 2).status == 0


def again(words):
    return {verb: [*w, "--resume" if verb == "train" else "--overwrite"] for verb, w in words.items()}


def told(verb, said, cause):
    """Assert that one line says which file could not be written, and why."""
    status, out, err = said
    assert status == 1, said
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("diffsda ")]
    assert lines == [lines[0]], err
    assert lines[0].startswith(f"diffsda {verb}: error: ")
    assert "could not be written" in lines[0]
    assert cause in lines[0]
    assert "Traceback" not in err
    assert "unexpected" not in err


def test_a_limit_on_file_size(process, cli, shelf, many, golden, room):
    words = verbs(shelf, many, golden, room)
    begin(cli, room, words)
    before = contents(room)
    fresh = room.parent / "fresh"
    fresh.mkdir()
    both = {**{f"{v} again": w for v, w in again(words).items()}, **verbs(shelf, many, golden, fresh)}
    calls = [[str(word) for word in w] for w in both.values()]
    said = process(code=LIMITED, input=json.dumps([4096, calls]))
    assert said.status == 0, said
    for name, one in zip(both, json.loads(said.out)):
        told(name.split()[0], one, "File too large")
        assert ("untouched" in one[2]) == name.endswith("again")
    now = contents(room)
    log = str((room / "run" / "log.jsonl").relative_to(room))
    assert now.pop(log).startswith(before.pop(log))
    assert now == before
    assert sorted(contents(fresh)) == ["run/log.jsonl", "run/provenance.json", "run/recipe.json"]


def fill(folder, spare):
    """Fill a disk up to some spare bytes."""
    path = folder / "filler"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(path, path.stat().st_size - spare)
    return path


@pytest.mark.parametrize("spare", [0, 8192])
def test_a_full_disk(spare, disk, cli, shelf, many, golden):
    words = verbs(shelf, many, golden, disk)
    begin(cli, disk, words)
    filler = fill(disk, spare)
    before = contents(disk)
    for verb, w in again(words).items():
        said = cli(*w)
        told(verb, (said.status, said.out, said.err), "No space left on device")
    now = contents(disk)
    assert now.pop("run/log.jsonl").startswith(before.pop("run/log.jsonl").rstrip())
    assert now == before
    # With room again everything goes through, the run from where it was.
    filler.unlink()
    for w in again(words).values():
        assert cli(*w).status == 0
    assert load(disk / "run").provenance["step"] == 4
    with np.load(disk / "z.npz") as held:
        assert held["static"].shape == (300, 5)


def test_a_log_that_cannot_grow(cli, shelf, many, golden, room):
    words = verbs(shelf, many, golden, room)
    begin(cli, room, words)
    before = contents(room)
    log = room / "run" / "log.jsonl"
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, was[1]))
    try:
        said = cli(*again(words)["train"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
    told("train", (said.status, said.out, said.err), "File too large")
    assert str(log) in said.err
    assert contents(room) == before
