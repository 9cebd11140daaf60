"""train-prior, generate and traverse: what they write and print, and what they refuse."""

import importlib
import json
import shutil

import numpy as np
import pytest
from shelf import Said, names, vectors

from diffsda.checkpoint import load, save
from diffsda.data.arrays import read, write
from diffsda.data.frames import FrameWriter
from diffsda.data.prepared import Dataset
from diffsda.errors import DiffSDAError
from diffsda.firststage.clips import raw
from diffsda.prior.file import load_prior
from diffsda.report.canvas import provenance
from diffsda.tasks.reconstruct import reconstruct

QUICK = ("--prior.layers", 3, "--prior.width", 2, "--prior.sampling-steps", 5, "--fit.steps", 6, "--fit.batch", 4)


@pytest.fixture
def verb(capsys):
    """Run a verb by its module; refusals become what the command line makes of them."""

    def run(name, *words):
        capsys.readouterr()
        module = importlib.import_module(f"diffsda.cli.{name}")
        try:
            status, error = module.run([str(word) for word in words]), ""
        except DiffSDAError as refusal:
            status, error = refusal.exit_code, str(refusal)
        said = capsys.readouterr()
        return Said(status, said.out, said.err + error)

    return run


@pytest.fixture(scope="module")
def home(shelf, tmp_path_factory):
    """Return a run folder with a model and its prior, and clips of varied lengths beside it."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(shelf / "vector.safetensors", folder / "weights-00000010.safetensors")
    run = importlib.import_module("diffsda.cli.train_prior").run
    assert run([str(w) for w in (folder, "--data", shelf / "vector.npz", "--device", "cpu", *QUICK)]) == 0
    write(folder / "varied.npz", {"x": vectors((4, 7, 3)), "lengths": np.array([7, 3, 5, 6])})
    return folder


def test_a_prior_is_trained_beside_its_model(verb, shelf, tmp_path):
    model = shutil.copy(shelf / "vector.safetensors", tmp_path / "weights-00000010.safetensors")
    said = verb("train_prior", tmp_path, "--data", shelf / "vector.npz", *QUICK, "--json")
    assert said.status == 0
    about = json.loads(said.out)
    out = tmp_path / "prior.safetensors"
    assert about["out"] == str(out)
    assert (about["clips"], about["static"], about["dynamic"], about["frames"], about["steps"]) == (4, 5, 2, 7, 6)
    assert about["parameters"] == sum(p.numel() for p in load_prior(out).parameters())
    assert np.isfinite(about["loss"])
    assert load_prior(out).owner.name == "vector"
    again = verb("train_prior", model, "--data", shelf / "vector.npz", *QUICK)
    assert again.status == 2
    assert "prior.safetensors exists already" in again.err
    assert verb("train_prior", model, "--data", shelf / "vector.npz", *QUICK, "--overwrite").out == f"{out}\n"


def test_clips_of_varied_lengths_need_a_number_of_frames(verb, home, room):
    said = verb("train_prior", home, "--data", home / "varied.npz", "--out", room / "p.safetensors", *QUICK)
    assert said.status == 2
    assert "lengths from 3 to 7" in said.err
    assert "--frames" in said.err
    assert names(room) == []
    said = verb(
        "train_prior", home, "--data", home / "varied.npz", "--out", room / "p.safetensors", *QUICK, "--frames", 5
    )
    assert said.status == 0
    assert "left out 1 clips of fewer than 5 frames" in said.err
    assert load_prior(room / "p.safetensors").sizes.frames == 5


def test_clips_on_disk_are_read_as_they_are_encoded(verb, home, shelf, room, tmp_path):
    x = vectors((4, 7, 3))
    with FrameWriter(tmp_path / "train", (3,), "float32") as writer:
        for i, clip in enumerate(x):
            writer.append(f"clip {i}", clip)
    about = Dataset(kind="frames", name="mine", modality="series", frames=7, channels=3, splits={"train": 4})
    about.write(tmp_path)
    words = ("--out", room / "p.safetensors", *QUICK)
    said = verb("train_prior", home, "--data", tmp_path, *words, "--frames", 5)
    assert said.status == 2
    assert "taken with 7 frames" in said.err
    assert verb("train_prior", home, "--data", tmp_path, *words, "--batch", 3).status == 0
    # The same clips from a file give the same prior.
    assert (
        verb("train_prior", home, "--data", shelf / "vector.npz", "--out", room / "q.safetensors", *QUICK).status == 0
    )
    made = [load_prior(room / name).sample(2).pack() for name in ("p.safetensors", "q.safetensors")]
    np.testing.assert_allclose(made[0], made[1], rtol=1e-3, atol=1e-3)


def test_a_stopped_training_goes_on(verb, home, shelf, room):
    words = (home, "--data", shelf / "vector.npz", "--out", room / "p.safetensors", *QUICK)
    said = verb("train_prior", *words, "--until", 2)
    assert (said.status, said.out) == (0, "")
    assert "step 2; go on with the same command and --resume" in said.err
    assert verb("train_prior", *words).status == 2
    assert verb("train_prior", *words, "--resume").out == f"{room / 'p.safetensors'}\n"


def test_dry_run_prints_the_settings(verb):
    said = verb("train_prior", "nowhere", "--data", "nothing", "--prior.layers", 4, "--dry-run")
    assert json.loads(said.out)["prior"]["layers"] == 4


def test_clips_come_out_of_the_prior(verb, home, room):
    out, figure = room / "g.npz", room / "g.png"
    said = verb("generate", home, "--count", 3, "--out", out, "--figure", figure, "--seed", 5)
    assert said.status == 0
    assert said.out == f"{out}\n{figure}\n"
    held = np.load(out)
    assert held["x"].shape == (3, 7, 3)
    prior = load_prior(home / "prior.safetensors")
    np.testing.assert_allclose(held["static"], prior.sample(3, 5).static, rtol=1e-4, atol=1e-5)
    # In the units of the training clips, which are not those of the model.
    model = load(home)
    x = model.sample(prior.sample(3, 5), seed=5).numpy()
    np.testing.assert_allclose(held["x"], raw(x, model.whitening), rtol=1e-3, atol=1e-3)
    assert provenance(figure)["prior"] == prior.recipe.digest
    other = verb("generate", home, "--count", 1, "--out", room / "one.npy", "--seed", 7, "--batch", 1, "--json")
    assert json.loads(other.out)["clips"] == 1
    np.testing.assert_allclose(np.load(room / "one.npy"), held["x"][2:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("swap", ["static", "dynamic"])
def test_one_factor_of_real_clips_is_replaced(verb, home, shelf, room, swap):
    out, figure = room / "s.npz", room / "s.png"
    words = ("--swap", swap, "--data", shelf / "vector.npz", "--count", 2, "--figure", figure, "--json")
    said = verb("generate", home, "--out", out, *words)
    assert said.status == 0, said
    assert (json.loads(said.out)["clips"], json.loads(said.out)["swap"]) == (2, swap)
    assert said.err.endswith(f"{figure}\n")
    assert read(out).x.shape == (2, 7, 3)


def test_lengths_and_labels_of_swapped_clips_are_kept(verb, home, room):
    said = verb("generate", home, "--out", room / "s.npz", "--swap", "static", "--data", home / "varied.npz")
    assert said.status == 0
    held = read(room / "s.npz")
    assert held.lengths.tolist() == [7, 3, 5, 6]
    assert not held.x[1, 3:].any()
    said = verb("generate", home, "--out", room / "d.npz", "--swap", "dynamic", "--data", home / "varied.npz")
    assert said.status == 2
    assert "varied lengths, expected 7 frames" in said.err
    cut = ("--swap", "dynamic", "--data", home / "varied.npz", "--frames", 7)
    assert verb("generate", home, "--out", room / "d.npz", *cut).status == 0
    assert read(room / "d.npz").x.shape == (1, 7, 3)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--count", 0), "--count: got 0"),
        (("--swap", "static"), "--data: got nothing"),
        (("--data", "x.npz"), "--swap: got nothing"),
        (("--noise", "own"), "no stochastic code"),
        (("--frames", 4), "with --swap only"),
        (("--seed", -1), "--seed: got -1"),
        (("--steps", 1), "steps: got 1"),
        (("--prior-steps", 0), "from 1 to the prior's 1000"),
        (("--prior", "none.safetensors"), "there is no none.safetensors; make it with `diffsda train-prior"),
    ],
)
def test_what_generate_refuses(verb, home, room, words, error):
    said = verb("generate", home, "--out", room / "g.npz", *words)
    assert said.status == 2
    assert error in said.err
    assert names(room) == []


def test_the_prior_of_another_model_is_refused(verb, home, shelf, room, tmp_path):
    model = load(home)
    model.encoder.to_static.bias.data += 1
    other = save(model, tmp_path / "other.safetensors")
    for name, words in (("generate", ()), ("traverse", ())):
        said = verb(name, other, "--prior", home, "--out", room / "g.npz", *words)
        assert said.status == 2
        assert "is the prior of vector" in said.err
    assert names(room) == []


def test_walks_along_components(verb, home, shelf, room):
    out, figure = room / "t.npz", room / "t.png"
    words = ("--alphas", -1, 0, 2, "--components", 2, "--count", 3, "--samples", 64, "--figure", figure, "--json")
    said = verb("traverse", home, "--data", shelf / "vector.npz", "--out", out, *words)
    assert said.status == 0, said
    about = json.loads(said.out)
    assert about["alphas"] == [-1, 0, 2]
    assert about["pool"] == {"from": "prior", "vectors": 64, "width": 5}
    assert 1 >= about["explained_variance"][0] >= about["explained_variance"][1] > 0
    held, arrays = read(out), np.load(out)
    assert held.x.shape == (3 * 2 * 3, 7, 3)
    assert held.labels["clip"].tolist() == [i for i in range(3) for _ in range(6)]
    assert held.labels["component"].tolist() == [0, 0, 0, 1, 1, 1] * 3
    assert arrays["alpha"].tolist() == [-1, 0, 2] * 6
    assert arrays["components_directions"].shape == (2, 5)
    # Alpha 0 is the reconstruction, in the units of the clips.
    model, clips = load(home), read(shelf / "vector.npz").select(slice(0, 3))
    still = held.x[arrays["alpha"] == 0]
    wanted = verb("reconstruct", home, shelf / "vector.npz", "--out", room / "r.npz")
    assert wanted.status == 0
    np.testing.assert_allclose(still[::2], read(room / "r.npz").x[:3], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(still[::2], still[1::2])
    assert provenance(figure)["pool"] == "prior"
    assert reconstruct(model, clips, steps=2).shape == (3, 7, 3)


def test_components_of_the_clips_themselves(verb, home, room):
    words = ("--pool", "data", "--factor", "dynamic", "--components", 1, "--alphas", 0, 1, "--json")
    said = verb("traverse", home, "--data", home / "varied.npz", "--out", room / "t.npz", *words)
    assert said.status == 0, said
    # Frames beyond a clip's end are none.
    assert json.loads(said.out)["pool"] == {"from": "data", "vectors": 7 + 3 + 5 + 6, "width": 2}
    held = read(room / "t.npz")
    assert held.lengths.tolist() == [7, 7, 3, 3, 5, 5, 6, 6]


def test_without_clips_walks_begin_at_samples_of_the_prior(verb, home, room):
    words = ("--count", 2, "--components", 1, "--alphas", 0, 1, "--samples", 32, "--json")
    said = verb("traverse", home, "--out", room / "t.npz", *words)
    assert said.status == 0, said
    said = verb("generate", home, "--count", 2, "--out", room / "g.npz")
    np.testing.assert_allclose(read(room / "t.npz").x[::2], read(room / "g.npz").x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--out", "t.npy"), "several arrays"),
        (("--components", 6, "--samples", 64), "got 6, expected 1 to 5"),
        (("--components", 0), "--components: got 0"),
        (("--count", 0), "--count: got 0"),
        (("--samples", 3), "expected more than 5"),
        (("--pool", "data"), "expected clips"),
        (("--prior", "none.safetensors"), "there is no none.safetensors"),
    ],
)
def test_what_traverse_refuses(verb, home, room, words, error):
    said = verb("traverse", home, *(() if "--out" in words else ("--out", room / "t.npz")), *words)
    assert said.status == 2
    assert error in said.err
    assert names(room) == []


def test_frames_that_cannot_be_drawn_are_refused_beforehand(verb, shelf, room, tmp_path):
    shutil.copy(shelf / "video.safetensors", tmp_path / "weights-00000010.safetensors")
    assert verb("train_prior", tmp_path, "--data", shelf / "video.npz", *QUICK).status == 0
    for name in ("generate", "traverse"):
        words = (tmp_path, "--out", room / "v.npz", "--count", 1, "--steps", 2)
        more = ("--samples", 16, "--alphas", 0, 1, "--components", 1) if name == "traverse" else ()
        said = verb(name, *words, *more, "--figure", room / "v.png")
        assert said.status == 2
        assert "got a model of 2 channels, expected 1 or 3" in said.err
        assert names(room) == []
        assert verb(name, *words, *more).status == 0
        assert read(room / "v.npz").x.shape[1:] == (4, 2, 8, 8)
        (room / "v.npz").unlink()


def test_without_prior_and_clips_there_is_nowhere_to_begin(verb, shelf, room):
    said = verb("traverse", shelf / "vector.safetensors", "--out", room / "t.npz")
    assert said.status == 2
    assert "got nothing and no prior" in said.err
    assert "diffsda train-prior" in said.err
