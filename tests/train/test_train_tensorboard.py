"""TensorBoard: an event file where it is installed, a clear word where it is not."""

import sys

import numpy as np
import pytest
from training_runs import MEASURED, clips, records, vector, vector_words

from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.train.loop import Options, train


def events(folder):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return {name: [(e.step, e.value) for e in accumulator.Scalars(name)] for name in accumulator.Tags()["scalars"]}


def test_an_event_file_holds_what_the_log_holds(tmp_path):
    pytest.importorskip("tensorboard")
    recipe = vector(steps=6)
    data = clips(recipe)
    train(recipe, data, tmp_path / "run", Options(tensorboard=True, log_every=2, until=4))
    train(recipe, data, tmp_path / "run", Options(tensorboard=True, log_every=2, resume=True))
    seen = events(tmp_path / "run")
    assert set(seen) == {"loss", "grad_norm", "lr", *MEASURED}
    assert [step for step, _ in seen["loss"]] == [2, 4, 6], "each step once, whatever a resume undid"
    logged = [record["loss"] for record in records(tmp_path / "run")]
    np.testing.assert_allclose([value for _, value in seen["loss"]], logged, rtol=1e-5)


def test_without_the_flag_there_is_none(tmp_path):
    recipe = vector(steps=1)
    train(recipe, clips(recipe), tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_missing_package_is_told_before_a_folder_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    write(tmp_path / "clips.npz", {"x": clips(vector()).x})
    words = ["train", *vector_words(), "--data", str(tmp_path / "clips.npz"), "--out", str(tmp_path / "run")]
    assert main([*words, "--tensorboard"]) == 3
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "diffsda train: error: TensorBoard is not installed: pip install 'diffsda[tensorboard]', or leave out "
        "--tensorboard"
    ]
    assert said.out == ""
    assert not (tmp_path / "run").exists()
    assert main(words) == 0, "the same folder can be used without it"
