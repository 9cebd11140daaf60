"""What a comparison refuses, in one line and before anything is trained."""

import json

import numpy as np
import pytest

from diffsda.data.arrays import write


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    from diffsda.train import loop

    def train(*given, **more):
        raise AssertionError("a training was begun")

    monkeypatch.setattr(loop, "train", train)


def check(said, *words):
    assert said.status == 2, said.err
    assert said.err.count("\n") == 1, said.err
    for word in words:
        assert word in said.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--steps", "0"), "--steps: got 0"),
        (("--steps", "3", "--seconds", "1"), "--seconds: got --steps as well"),
        (("--seconds", "0"), "--seconds: got 0"),
        (("--seeds", "1", "1"), "--seeds: got (1, 1)"),
        (("--judged-seeds", "-1"), "--judged-seeds"),
        (("--criterion", "joint"), "--trials: got none"),
        (("--trials", "0"), "--trials: got 0"),
        (("--trials", "9"), "at most 5 without a --grid"),
        (("--threads", "0"), "--threads: got 0"),
        (("--protocols", "swap-label"), "did you mean 'swap-labels'"),
        (("--set", "swap-labels.pears=3"), "did you mean 'pairs'"),
        (("--set", "pairs=3"), "expected PROTOCOL.NAME=VALUE"),
    ],
)
def test_options(compare, tmp_path, more, words):
    check(compare(tmp_path / "out", *more), words)
    assert not (tmp_path / "out").exists()


def test_recipes(compare, tmp_path):
    check(compare(tmp_path / "out", recipes=()), "RECIPE: got none")
    check(compare(tmp_path / "out", recipes=("dbse-vovels",)), "did you mean 'dbse-vowels'")
    check(compare(tmp_path / "out", recipes=("ours", "ours")), "twice")
    check(compare(tmp_path / "out", recipes=("gone.json",)), "gone.json: cannot be read")
    check(compare(tmp_path / "out", recipes=("ours", "spyl-vowels")), "spyl-vowels: clips.channels: got 12, expected 3")
    check(compare(tmp_path / "out", recipes=("ours", "dbse-sprites32")), "clips.modality: got video, expected series")
    check(compare(tmp_path / "out", recipes=("demo",)), "expected (N, V, 12)")


def test_data(compare, stage, tmp_path):
    from diffsda.cli import main

    recipe, out = str(stage.files["ours"]), str(tmp_path / "out")
    assert main(["compare", recipe]) == 2
    assert main(["compare", recipe, "--data", str(stage.fit), "--out", out]) == 2
    assert main(["compare", recipe, "--data", "series", "--test", str(stage.test), "--out", out]) == 2


def test_what_a_system_cannot_read_is_told_before_any_is_trained(stage, compare, tmp_path, monkeypatch):
    from diffsda.baselines.dbse.series import SeriesDBSE

    monkeypatch.setattr(SeriesDBSE, "masks", False)
    with np.load(stage.fit) as held:
        arrays = {name: held[name] for name in held.files}
    gone = np.zeros_like(arrays["x"])
    gone[:, 2] = 1
    write(tmp_path / "gone.npz", {**arrays, "mask": gone})
    words = ("--data", tmp_path / "gone.npz")
    check(compare(tmp_path / "out", *words), "dbse-series: ", "missing values")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"ours": [{}, {}]}, "got none variations of dbse-series (dbse-series), expected 2"),
        ({"diffsda": [{}, {}], "dbse-series": [{}]}, "got 1 variations of dbse-series"),
        ({"ours": [{}, {"optim": {"lt": 1}}]}, "ours, variation 2: got optim.lt, expected one of lr"),
        ({"ours": [{}, {"optim": {"steps": 9}}]}, "neither clips, nor budget or seed"),
        ({"ours": [{}, {"optics": {"lr": 1}}]}, "got the part 'optics'"),
        ({"ours": [{}, {"optim": {"lr": -1}}]}, "ours, variation 2: optim.lr"),
        ([], "holds list"),
    ],
)
def test_grids(compare, tmp_path, grid, words):
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    check(compare(tmp_path / "out", "--trials", "2", "--grid", tmp_path / "grid.json"), words)
    assert not (tmp_path / "out").exists()
