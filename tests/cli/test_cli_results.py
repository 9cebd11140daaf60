"""The verbs give the numbers of the Python interface, in the units of the input, whatever the batch."""

import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from shelf import SHAPES, VECTOR, build, vectors

import diffsda
from diffsda.checkpoint import save
from diffsda.data.arrays import read, write
from diffsda.firststage.whiten import Whitening
from diffsda.inference import Session

MEAN, STD = np.array([3.0, 2.0, 3.5]), np.array([2.0, 1.5, 2.5])
SUFFIXES = [".npz", ".npy", ".safetensors"]


def white(x):
    return ((x - MEAN) * 0.5 / STD).astype(np.float32)


def unwhite(x):
    return x / 0.5 * STD + MEAN


def near(a, b):
    """Hold clips to six digits of their largest value: sums in another order, over all of a solver's steps."""
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


@torch.no_grad()
def asked(model, x, y):
    """Return what the Python interface makes of clips."""
    fresh = model.reconstruct(x, noise="fresh", seed=5, steps=4)
    return model.encode(x), model.reconstruct(x).numpy(), fresh.numpy(), model.swap(x, y).numpy()


def stored(path):
    """Return the arrays of a file, read without the code under test."""
    if path.suffix == ".safetensors":
        return safetensors.numpy.load_file(path)
    if path.suffix == ".npy":
        return {"x": np.load(path)}
    with np.load(path) as held:
        return dict(held)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["vector", "video"])
def test_encode_reconstruct_and_swap_are_the_python_interface(suffix, name, cli, shelf, tmp_path, room):
    x, y = vectors(SHAPES[name]), vectors(SHAPES[name], seed=1)
    write(tmp_path / f"x{suffix}", {"x": x})
    write(tmp_path / f"y{suffix}", {"x": y})
    path = shelf / f"{name}.safetensors"
    model = diffsda.load(path)
    to, back = (white, unwhite) if name == "vector" else (lambda a: a, lambda a: a)
    f, own, fresh, swapped = asked(Session(model), to(x), to(y))
    # The verbs run on a session. It adds in another order than the model: float32 rounding, which inversion of a net
    # of random weights enlarges, so that a pixel near 0 can be off by far more than 1e-5 of itself. Hence the norm.
    plain = asked(model, to(x), to(y))
    for mine, its in zip([f.static, f.dynamic, own, fresh, swapped], [plain[0].static, plain[0].dynamic, *plain[1:]]):
        assert np.linalg.norm(mine - its) <= 1e-5 * np.linalg.norm(its)

    out = room / ("z.npz" if suffix == ".npy" else f"z{suffix}")
    assert cli("encode", path, tmp_path / f"x{suffix}", "--out", out).out == f"{out}\n"
    held = stored(out)
    assert held.keys() == {"static", "dynamic"}
    np.testing.assert_allclose(held["static"], f.static, rtol=0, atol=1e-5)
    np.testing.assert_allclose(held["dynamic"], f.dynamic, rtol=0, atol=1e-5)

    out = room / f"own{suffix}"
    said = cli("reconstruct", path, tmp_path / f"x{suffix}", "--out", out, "--json")
    near(stored(out)["x"], back(own))
    about = json.loads(said.out)
    assert about.keys() == {"out", "mse", "clips", "execution"}
    assert about["clips"] == len(x)
    assert about["mse"] == pytest.approx(float(((own - to(x)) ** 2).mean()), rel=1e-4)
    assert said.err.startswith("mean squared error ")

    out = room / f"fresh{suffix}"
    words = ["--noise", "fresh", "--seed", 5, "--steps", 4]
    assert cli("reconstruct", path, tmp_path / f"x{suffix}", "--out", out, *words).out == f"{out}\n"
    near(stored(out)["x"], back(fresh))

    out = room / f"swap{suffix}"
    said = cli("swap", path, tmp_path / f"x{suffix}", tmp_path / f"y{suffix}", "--out", out)
    assert (said.status, said.out, said.err) == (0, f"{out}\n", "")
    held = stored(out)
    near(held["x"], back(swapped))
    if suffix != ".npy":
        assert held["static_donor"].tolist() == held["dynamic_donor"].tolist() == list(range(len(x)))


@pytest.fixture(scope="module")
def churning(tmp_path_factory):
    """Return a model that draws noise on the way as well, and clips of different lengths with missing values."""
    folder = tmp_path_factory.mktemp("churning")
    recipe = VECTOR.replace(sampling={"S_churn": 2.0, "S_max": 50.0, "steps": 4})
    save(build(recipe, Whitening(tuple(MEAN), tuple(STD))), folder / "model.safetensors")
    x, mask = vectors((7, 9, 3)), np.zeros((7, 9, 3))
    x[3, 2, 1], mask[3, 2, 1] = np.nan, 1
    write(folder / "x.npz", {"x": x, "lengths": np.array([9, 2, 5, 9, 3, 8, 9]), "mask": mask})
    write(folder / "y.npz", {"x": vectors((7, 6, 3), seed=2)})
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["encode"],
        ["reconstruct", "--noise", "own"],
        ["reconstruct", "--noise", "fresh", "--seed", 11],
        ["swap", "--noise", "dynamic", "--seed", 11],
        ["swap", "--noise", "fresh", "--seed", 11],
        ["swap", "--noise", "shared", "--seed", 11],
    ],
)
def test_the_batch_changes_nothing(words, cli, churning, room):
    verb, *options = words
    clips = [churning / "x.npz", churning / "y.npz"] if verb == "swap" else [churning / "x.npz"]
    results = []
    for batch in (64, 1, 3):
        out = room / f"{batch}.npz"
        said = cli(verb, churning / "model.safetensors", *clips, "--out", out, *options, "--batch", batch)
        assert said.status == 0, said
        results.append(stored(out))
    first = results[0]
    for other in results[1:]:
        assert other.keys() == first.keys()
        for name in first:
            near(other[name], first[name])


def test_the_seed_decides_fresh_noise(cli, churning, room):
    held = []
    for i, seed in enumerate((0, 0, 1)):
        words = ["--noise", "fresh", "--seed", seed, "--out", room / f"{i}.npz"]
        assert cli("reconstruct", churning / "model.safetensors", churning / "x.npz", *words).status == 0
        held.append(stored(room / f"{i}.npz")["x"])
    np.testing.assert_array_equal(held[0], held[1])
    assert np.abs(held[0] - held[2]).max() > 0.1
    # Clip i draws from seed + i: only the noise, not the clip, is shared, so nothing else may be equal.
    assert (room / "0.npz").read_bytes() == (room / "1.npz").read_bytes()


def test_padding_is_ignored_and_comes_back_as_0(cli, churning, room, tmp_path):
    x = np.nan_to_num(read(churning / "x.npz").x)
    write(tmp_path / "one.npz", {"x": x[1:2, :2]})
    model = churning / "model.safetensors"
    assert cli("encode", model, churning / "x.npz", "--out", room / "all.npz").status == 0
    assert cli("encode", model, tmp_path / "one.npz", "--out", room / "one.npz").status == 0
    every, one = stored(room / "all.npz"), stored(room / "one.npz")
    assert every["lengths"].tolist() == [9, 2, 5, 9, 3, 8, 9]
    np.testing.assert_allclose(every["static"][1:2], one["static"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(every["dynamic"][1:2, :2], one["dynamic"], rtol=0, atol=1e-5)
    assert (every["dynamic"][1, 2:] == 0).all()

    assert cli("reconstruct", model, churning / "x.npz", "--out", room / "r.safetensors").status == 0
    held = stored(room / "r.safetensors")
    assert held["lengths"].tolist() == [9, 2, 5, 9, 3, 8, 9]
    assert (held["x"][1, 2:] == 0).all()
    assert (held["x"][1, :2] != 0).all()


def test_missing_values_are_those_of_the_mean(cli, churning, room, tmp_path):
    """A missing value is 0 after whitening, which is the mean before."""
    x = vectors((7, 9, 3))
    x[3, 2, 1] = MEAN[1]
    write(tmp_path / "mean.npz", {"x": x, "lengths": np.array([9, 2, 5, 9, 3, 8, 9])})
    for name, path in (("masked", churning / "x.npz"), ("mean", tmp_path / "mean.npz")):
        assert cli("encode", churning / "model.safetensors", path, "--out", room / f"{name}.npz").status == 0
    masked, mean = stored(room / "masked.npz"), stored(room / "mean.npz")
    np.testing.assert_allclose(masked["static"], mean["static"], rtol=0, atol=1e-5)


def test_as_is_takes_and_gives_the_models_units(cli, shelf, tmp_path, room):
    x = vectors(SHAPES["vector"])
    write(tmp_path / "white.npz", {"x": white(x)})
    model = shelf / "vector.safetensors"
    for verb in ("encode", "reconstruct", "swap"):
        raw, plain = [shelf / "vector.npz"], [tmp_path / "white.npz"]
        if verb == "swap":
            raw, plain = raw * 2, plain * 2
        assert cli(verb, model, *raw, "--out", room / "raw.npz", "--overwrite").status == 0
        assert cli(verb, model, *plain, "--out", room / "as_is.npz", "--as-is", "--overwrite").status == 0
        a, b = stored(room / "raw.npz"), stored(room / "as_is.npz")
        if verb == "encode":
            np.testing.assert_allclose(a["static"], b["static"], rtol=0, atol=1e-5)
        else:
            np.testing.assert_allclose(a["x"], unwhite(b["x"]), rtol=1e-5, atol=1e-4)
            # Far from each other, or the line above says nothing.
            assert np.abs(a["x"] - b["x"]).mean() > 1


def test_a_grid_swaps_every_pair(cli, shelf, tmp_path, room):
    x = read(shelf / "vector.npz").x
    write(tmp_path / "two.npz", {"x": x[:2]})
    model = shelf / "vector.safetensors"
    words = ["swap", model, tmp_path / "two.npz", shelf / "vector.npz"]
    assert cli(*words, "--out", room / "grid.npz", "--grid").status == 0
    held = stored(room / "grid.npz")
    assert held["static_donor"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert held["dynamic_donor"].tolist() == [0, 1, 2, 3] * 2
    loaded = diffsda.load(model)
    one = loaded.swap(white(x[1:2]), white(x[2:3])).numpy()
    np.testing.assert_allclose(held["x"][6:7], unwhite(one), rtol=1e-5, atol=1e-5)


def test_describe_tells_what_was_saved(cli, shelf):
    said = cli("describe", shelf / "vector.safetensors", "--json")
    about = json.loads(said.out)
    model = diffsda.load(shelf / "vector.safetensors")
    assert about["recipe"] == VECTOR.to_dict()
    assert about["digest"] == VECTOR.digest
    assert about["values"] == sum(v.numel() for v in model.state_dict().values())
    assert about["tensors"] == len(model.state_dict())
    assert about["bytes"] == (shelf / "vector.safetensors").stat().st_size
    assert about["whitening"] == {"mean": MEAN.tolist(), "std": STD.tolist()}
    assert about["provenance"]["versions"]["torch"] == str(torch.__version__)
    text = cli("describe", shelf / "vector.safetensors").out
    assert f"digest       {VECTOR.digest}\n" in text
    assert "  encoder      width 4, " in text
