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


FASTER = {"optim": {"lr": 0.01}}


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


def test_recipes_of_other_runs_of_frames(compare, stage, tmp_path):
    for part, value in (("stride", 2), ("window", "anywhere")):
        plain = json.loads(stage.files["dbse-series"].read_text())
        plain["clips"][part] = value
        (tmp_path / "other.json").write_text(json.dumps(plain))
        said = compare(tmp_path / "out", recipes=("ours", tmp_path / "other.json"))
        check(said, f"clips.{part}: got {value}")


def test_clips_that_recipes_cut_differently(compare, stage, tmp_path, monkeypatch):
    from diffsda.data import registry

    plain = json.loads(stage.files["dbse-series"].read_text())
    plain["clips"]["frames"] = 4
    (tmp_path / "other.json").write_text(json.dumps(plain))
    real = registry.open_data

    def cut(source, split, form, **more):
        clips = real(source, split, form, **more)
        return clips if form.frames is None else clips.select(slice(0, 8))

    monkeypatch.setattr(registry, "open_data", cut)
    said = compare(tmp_path / "out", recipes=("ours", tmp_path / "other.json"))
    check(said, "dbse-series: clips: got others (frames 4) than ours has (frames None)")


@pytest.mark.parametrize("name", ["", "..", "two\nlines"])
def test_names_that_no_folder_can_have(compare, stage, tmp_path, name):
    plain = json.loads(stage.files["ours"].read_text()) | {"name": name}
    (tmp_path / "named.json").write_text(json.dumps(plain))
    check(compare(tmp_path / "out", recipes=(tmp_path / "named.json",)), "name: got")


def test_several_processes(compare, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    check(compare(tmp_path / "out"), "got several processes, expected one")


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
        ({"ours": [{}, FASTER]}, "got none variations of dbse-series (dbse-series), expected 2"),
        ({"diffsda": [{}, FASTER], "dbse-series": [{}]}, "got 1 variations of dbse-series"),
        ({"ours": [{}, {"optim": {"lt": 1}}]}, "ours, variation 2: got optim.lt, expected one of lr"),
        ({"ours": [{}, {"optim": {"steps": 9}}]}, "neither clips, nor budget or seed"),
        ({"ours": [{}, {"optics": {"lr": 1}}]}, "got the part 'optics'"),
        ({"ours": [{}, {"optim": {"lr": -1}}]}, "ours, variation 2: optim.lr"),
        ({"ours": [FASTER, {}, FASTER, FASTER]}, "dbse-series"),
        ({"ours": [{}, {"optim": {"lr": 0.001}}]}, "ours, variation 2: is variation 1 again"),
        ({"ours": [{}, FASTER], "dbse-series": [{}, {"settings": {"lr": 0.5}}]}, "settings.lr 0.5, which stays 0.0"),
        ({"ours": [{}, FASTER], "dbse-series": [{}, {"sampling": {"rho": 3}}]}, "sampling.rho, which dbse-series"),
        ({"ours": [{}, FASTER], "dbse-series": [{}, {"sampling": {"steps": 3}}]}, "sampling.steps, which dbse-series"),
        ([], "holds list"),
    ],
)
def test_grids(compare, tmp_path, grid, words):
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    check(compare(tmp_path / "out", "--trials", "2", "--grid", tmp_path / "grid.json"), words)
    assert not (tmp_path / "out").exists()
