"""A disk that fills up while training: one line, exit status 1, and the last checkpoint as it was."""

import sys

import pytest
from training_runs import assert_same_run, clips, records, run, state_of, vector, vector_words, weights_of

from diffsda.checkpoint import load
from diffsda.data.arrays import write
from diffsda.train.loop import Options, train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")

LIMITED = (
    "import resource, sys\n"
    "limit = int(sys.argv[1])\n"
    "from diffsda.cli import main\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
    "sys.exit(main(sys.argv[2:]))\n"
)


def test_a_full_disk(tmp_path):
    recipe = vector(ema=0.9)
    write(tmp_path / "clips.npz", {"x": clips(recipe).x})
    from diffsda.data.registry import open_clips

    data = open_clips(tmp_path / "clips.npz")
    train(recipe, data, tmp_path / "whole", Options(log_every=1))
    train(recipe, data, tmp_path / "run", Options(log_every=1, until=5))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    limit = len(before["state.pt"]) // 2
    words = ["train", *vector_words(ema=0.9), "--data", tmp_path / "clips.npz", "--log-every", 1, "--save-every", 3]
    status, out, err = run("-c", LIMITED, limit, *words, "--out", tmp_path / "run", "--resume", measured=False)
    assert status == 1, err
    assert out == ""
    told = [line for line in err.splitlines() if not line.startswith("tiny_vector: step")]
    assert len(told) == 1
    assert told[0].startswith("diffsda train: error: ")
    assert "state.pt: could not be written (File too large); the file that was there is untouched" in told[0]
    for name in ("state.pt", "weights-00000005.safetensors", "recipe.json"):
        assert (tmp_path / "run" / name).read_bytes() == before[name]
    assert {path.name for path in (tmp_path / "run").iterdir()} == set(before), "nothing half written"
    assert load(tmp_path / "run").provenance["step"] == 5
    assert state_of(tmp_path / "run")["step"] == 5
    assert [record["step"] for record in records(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    train(recipe, data, tmp_path / "run", Options(log_every=1, resume=True))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_disk_that_was_full_from_the_start(tmp_path):
    recipe = vector()
    write(tmp_path / "clips.npz", {"x": clips(recipe).x})
    words = ["train", *vector_words(), "--data", tmp_path / "clips.npz", "--out", tmp_path / "run", "--log-every", 1]
    status, _, err = run("-c", LIMITED, 4096, *words, measured=False)
    assert status == 1, err
    assert "state.pt: could not be written (File too large)" in err.splitlines()[-1]
    assert "untouched" not in err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"recipe.json", "provenance.json", "log.jsonl"}
    assert len(records(tmp_path / "run")) == 10
    assert not weights_of(tmp_path / "run")
