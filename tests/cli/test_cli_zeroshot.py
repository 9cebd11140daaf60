"""zero-shot: frames of other sets go into the model's form and come back in their own; what cannot go is refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from shelf import VIDEO, build, names, vectors

from diffsda.checkpoint import load, save
from diffsda.data.arrays import read, write
from diffsda.data.clip import Clips
from diffsda.data.frames import FrameWriter
from diffsda.data.prepared import Dataset
from diffsda.firststage.build import build as build_stage
from diffsda.firststage.clips import raw, whitened
from diffsda.firststage.files import load_first_stage, save_first_stage
from diffsda.firststage.latents import LatentSpace
from diffsda.firststage.recipe import FirstStage
from diffsda.firststage.whiten import Whitening
from diffsda.report.canvas import provenance
from diffsda.tasks.matching import Match, resized
from diffsda.tasks.reconstruct import reconstruct
from diffsda.tasks.swap import swap

STAGE = FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=2, codes=8)


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def abroad(shelf, tmp_path_factory):
    """Return a folder with models of pixels (colours, 8 x 8), of latents and of sound, and clips of other forms."""
    folder = tmp_path_factory.mktemp("abroad")
    model = build(VIDEO.replace(name="colours", clips={"channels": 3}), Whitening((0.1, 0.0, -0.1), (0.5, 0.4, 0.6)))
    save(model, folder / "model.safetensors")
    torch.manual_seed(3)
    stage = build_stage(STAGE).eval()
    save_first_stage(stage, folder / "stage.safetensors")
    x = torch.from_numpy(pictures(2, 4, 3, 16, 16))
    latents = build(
        VIDEO.replace(name="latents", clips={"latent": True}), Whitening.measure(LatentSpace(stage).encode(x).numpy())
    )
    latents.provenance = {"first_stage": stage.digest()}
    save(latents, folder / "latents.safetensors")
    write(folder / "large.npz", {"x": pictures(3, 6, 3, 16, 16)})
    write(folder / "small.npz", {"x": pictures(2, 4, 3, 4, 4, seed=1)})
    write(folder / "grey.npz", {"x": pictures(3, 5, 1, 12, 10, seed=2)})
    write(folder / "varied.npz", {"x": pictures(2, 6, 3, 8, 8), "lengths": np.array([6, 4])})
    return folder


def test_a_reconstruction_comes_back_in_the_sets_own_form(cli, abroad, room):
    out, figure = room / "r.npz", room / "r.png"
    words = ("--reconstruct", abroad / "large.npz", "--out", out, "--figure", figure, "--json")
    said = cli("zero-shot", abroad / "model.safetensors", *words)
    assert said.status == 0, said.err
    model, held = load(abroad / "model.safetensors"), read(abroad / "large.npz")
    seen = Clips(resized(held.x, (8, 8)))
    # Whitened by the statistics in the model, whatever those of this set are.
    inside = whitened(seen, model.whitening)
    y = reconstruct(model, inside)
    x = raw(y, model.whitening)
    made = read(out).x
    np.testing.assert_allclose(made, resized(x, (16, 16)), atol=2e-3)
    about = json.loads(said.out)
    assert about["mse"] == pytest.approx(np.mean((made.astype(float) - held.x) ** 2), rel=1e-5)
    assert about["mse_at_the_model"] == pytest.approx(np.mean((y.astype(float) - inside.x) ** 2), rel=5e-3)
    # The model's units are not the set's: its whitening has deviations of its own.
    assert np.mean((x.astype(float) - seen.x) ** 2) != pytest.approx(about["mse_at_the_model"], rel=2e-2)
    lost = np.mean((resized(seen.x, (16, 16)).astype(float) - held.x) ** 2)
    assert about["reconstruct"]["mse_without_the_model"] == pytest.approx(lost, rel=1e-5)
    assert about["reconstruct"]["frame"] == [3, 16, 16]
    assert about["reconstruct"]["model_frame"] == [3, 8, 8]
    assert provenance(figure)["way"] == "area"
    assert figure.stat().st_size > 1000


def test_the_published_way_loses_nothing_where_a_set_is_smaller_by_a_whole_number(cli, abroad, room):
    words = (abroad / "model.safetensors", "--reconstruct", abroad / "small.npz", "--json")
    lost = {}
    for way in ("area", "published"):
        said = cli("zero-shot", *words, "--way", way, "--out", room / f"{way}.npz")
        assert said.status == 0, said.err
        lost[way] = json.loads(said.out)["reconstruct"]["mse_without_the_model"]
    assert lost["published"] == 0
    assert lost["area"] > 1e-3
    assert read(room / "published.npz").x.shape == (2, 4, 3, 4, 4)


def test_swaps_of_two_other_sets_both_ways(cli, abroad, room):
    words = ("--static", abroad / "grey.npz", "--dynamic", abroad / "small.npz", "--both", "--json")
    more = ("--out", room / "s.npz", "--figure", room / "s.png")
    said = cli("zero-shot", abroad / "model.safetensors", *words, *more)
    assert said.status == 0, said.err
    with np.load(room / "s.npz") as held:
        made, other = held["x"], held["x_other"]
        assert held["static_donor"].tolist() == [0, 1]
    # The look of the static donor, the moments of the dynamics.
    assert made.shape == (2, 4, 1, 12, 10)
    assert other.shape == (2, 5, 3, 4, 4)
    model = load(abroad / "model.safetensors")
    grey, small = (read(abroad / name) for name in ("grey.npz", "small.npz"))
    ways = [Match(clips.x.shape[2:], (3, 8, 8)) for clips in (grey, small)]
    seen = [whitened(way.to(clips), model.whitening).select([0, 1]) for way, clips in zip(ways, (grey, small))]
    x = raw(swap(model, seen[0], seen[1]), model.whitening)
    np.testing.assert_allclose(made, ways[0].back(x, 4), atol=2e-3)
    x = raw(swap(model, seen[1], seen[0]), model.whitening)
    np.testing.assert_allclose(other, ways[1].back(x, 5), atol=2e-3)
    about = json.loads(said.out)
    assert (about["clips"], about["static"]["clips"], about["dynamic"]["clips"]) == (2, 3, 2)
    assert (room / "s.png").stat().st_size > 1000


@pytest.mark.parametrize(("back", "frame"), [("static", (1, 12, 10)), ("dynamic", (3, 4, 4)), ("model", (3, 8, 8))])
def test_swaps_come_back_in_the_size_that_is_asked_for(cli, abroad, room, back, frame):
    words = ("--static", abroad / "grey.npz", "--dynamic", abroad / "small.npz", "--back", back, "--count", 1)
    said = cli("zero-shot", abroad / "model.safetensors", *words, "--out", room / "s.npy")
    assert (said.status, said.out) == (0, f"{room / 's.npy'}\n")
    assert np.load(room / "s.npy").shape == (1, 4, *frame)


def test_frames_a_second_and_strides(cli, abroad, room):
    model = abroad / "model.safetensors"
    words = ("--reconstruct", abroad / "varied.npz", "--fps", 10, "--reconstruct-fps", 5, "--json")
    said = cli("zero-shot", model, *words, "--out", room / "r.npz")
    assert said.status == 0, said.err
    about = json.loads(said.out)["reconstruct"]
    assert (about["frames"], about["model_frames"], about["rate"]) == (6, 11, 2)
    assert read(room / "r.npz").lengths.tolist() == [6, 4]
    words = ("--static", abroad / "large.npz", "--dynamic", abroad / "varied.npz", "--dynamic-stride", 2, "--json")
    said = cli("zero-shot", model, *words, "--static-stride", 3, "--out", room / "s.npz")
    assert said.status == 0, said.err
    assert read(room / "s.npz").lengths.tolist() == [3, 2]
    assert json.loads(said.out)["static"]["model_frames"] == 2
    said = cli("zero-shot", model, "--reconstruct", abroad / "varied.npz", "--frames", 5, "--out", room / "f.npz")
    assert said.status == 0
    assert "--reconstruct: left out 1 clips of fewer than 5 frames" in said.err
    assert read(room / "f.npz").x.shape[:2] == (1, 5)


def test_pixels_of_another_size_go_through_the_first_stage(cli, abroad, room):
    model, stage = abroad / "latents.safetensors", abroad / "stage.safetensors"
    words = ("--reconstruct", abroad / "grey.npz", "--first-stage", stage, "--out", room / "r.npz")
    said = cli("zero-shot", model, *words)
    assert said.status == 0, said.err
    held, match = read(abroad / "grey.npz"), Match((1, 12, 10), (3, 16, 16))
    latent = load(model)
    # The statistics of the latents are those of the set the model was trained on.
    space = LatentSpace(load_first_stage(stage), latent.whitening, tell=print)
    z = space.encode(torch.from_numpy(match.to(held).x))
    wanted = match.back(space.decode(latent.reconstruct(z)).numpy(), 5)
    np.testing.assert_allclose(read(room / "r.npz").x, wanted, atol=2e-3)


def test_latents_are_not_resized(cli, abroad, shelf, room, refused):
    write(room / "z.npz", {"x": pictures(1, 4, 2, 6, 6)})
    said = cli("zero-shot", abroad / "latents.safetensors", "--reconstruct", room / "z.npz", "--out", room / "o.npz")
    refused(said, "zero-shot", 2, "latents cannot be resized", "--first-stage")
    words = ("--reconstruct", shelf / "video.npz", "--out", room / "o.npz")
    assert cli("zero-shot", abroad / "latents.safetensors", *words).status == 0


def sound(folder, modality="audio", **options):
    folder.mkdir()
    write(folder / "test.npz", {"x": vectors((2, 5, 3))})
    about = Dataset(kind="arrays", name=folder.name, modality=modality, frames=5, channels=3, splits={"test": 2})
    dataclasses.replace(about, options=options).write(folder)
    return folder


def test_spectra_are_compared_with_those_the_model_was_trained_on(cli, shelf, room, refused):
    model = load(shelf / "vector.safetensors")
    model.recipe = model.recipe.replace(clips={"modality": "audio"})
    save(model, room / "model.safetensors")
    own, same = (sound(room / name, rate=8000, hop=128, mels=40) for name in ("own", "same"))
    other, series = sound(room / "other", rate=8000, hop=256, mels=40), sound(room / "series", "series")
    words = (room / "model.safetensors", "--out", room / "o.npz", "--reconstruct")
    said = cli("zero-shot", *words, same)
    assert said.status == 0
    assert "was not compared with the model's; see --like" in said.err
    said = cli("zero-shot", *words, same, "--like", own, "--overwrite")
    assert said.status == 0
    assert "compared" not in said.err
    refused(
        cli("zero-shot", *words, other, "--like", own, "--overwrite"), "zero-shot", 2, "got hop 256", "expected 128"
    )
    refused(cli("zero-shot", *words, series, "--overwrite"), "zero-shot", 2, "got series, expected audio")
    said = cli("zero-shot", *words, same, "--like", room / "none", "--overwrite")
    refused(said, "zero-shot", 2, "holds no dataset.json")


def test_sets_on_disk_are_read_at_their_stride(cli, shelf, room):
    x = vectors((2, 9, 3))
    with FrameWriter(room / "set" / "test", (3,), "float32") as writer:
        for i, clip in enumerate(x):
            writer.append(f"clip {i}", clip)
    about = Dataset(kind="frames", name="set", modality="series", frames=9, channels=3, splits={"test": 2})
    about.write(room / "set")
    words = ("--reconstruct", room / "set", "--reconstruct-stride", 2, "--frames", 4, "--out", room / "o.npz", "--json")
    said = cli("zero-shot", shelf / "vector.safetensors", *words)
    assert said.status == 0, said.err
    assert json.loads(said.out)["reconstruct"]["model_frames"] == 4
    assert json.loads(said.out)["reconstruct"]["mse_without_the_model"] == 0
    model = load(shelf / "vector.safetensors")
    wanted = reconstruct(model, whitened(Clips(x[:, ::2][:, :4]), model.whitening))
    np.testing.assert_allclose(read(room / "o.npz").x, raw(wanted, model.whitening), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "got no clips, expected --static and --dynamic"),
        (("--static", "large"), "got --static, expected"),
        (("--static", "large", "--dynamic", "large", "--reconstruct", "large"), "and --reconstruct, expected"),
        (("--reconstruct", "large", "--both"), "--both: got it with --reconstruct"),
        (("--static", "large", "--dynamic", "large", "--both", "--out", "o.npy"), "with --both, expected .npz"),
        (("--reconstruct", "large", "--noise", "dynamic"), "--noise: got dynamic for --reconstruct"),
        (("--static", "large", "--dynamic", "large", "--noise", "own"), "--noise: got own for --static"),
        (("--static", "large", "--dynamic", "small", "--noise", "static"), "expected as many frames"),
        (("--reconstruct", "large", "--static-fps", 5), "--static-fps: got a value without --static"),
        (("--reconstruct", "large", "--dynamic-stride", 2), "--dynamic-stride: got a value without --dynamic"),
        (("--reconstruct", "large", "--reconstruct-stride", 0), "--reconstruct-stride: got 0"),
        (("--reconstruct", "large", "--reconstruct-stride", 6), "got 6 for a clip of 6 frames"),
        (("--reconstruct", "large", "--reconstruct-fps", 5), "got 5 and no --fps"),
        (("--reconstruct", "large", "--fps", 5), "--fps: got 5 alone"),
        (("--reconstruct", "large", "--fps", 1, "--reconstruct-fps", 30), "which are 1 at the model's rate"),
        (("--reconstruct", "large", "--fps", -1, "--reconstruct-fps", 30), "--fps: got -1"),
        (("--reconstruct", "large", "--fps", 9, "--reconstruct-fps", "nan"), "--reconstruct-fps: got nan"),
        (("--reconstruct", "large", "--frames", 7), "--frames: got 7"),
        (("--reconstruct", "large", "--count", 0), "--count: got 0"),
        (("--reconstruct", "large", "--way", "nearest"), "--way: got 'nearest', expected one of 'area', 'published'"),
        (("--reconstruct", "large", "--steps", 1), "steps: got 1"),
        (("--reconstruct", "large", "--out", "none/o.npz"), "expected a folder that exists"),
        (("--reconstruct", "none"), "no such file"),
        (("--reconstruct", "two"), "got pictures of 2 channels, expected 3"),
        (("--reconstruct", "flat"), "got vectors (3,), expected pictures"),
    ],
)
def test_what_is_refused(cli, abroad, shelf, room, refused, words, error):
    places = {
        **{name: abroad / f"{name}.npz" for name in ("large", "small", "none")},
        "two": shelf / "video.npz",
        "flat": shelf / "vector.npz",
    }
    out = () if "--out" in words else ("--out", room / "o.npz")
    said = cli("zero-shot", abroad / "model.safetensors", *(places.get(word, word) for word in words), *out)
    refused(said, "zero-shot", 2, error)
    assert names(room) == []


def test_features_cannot_be_made_up(cli, shelf, room, refused):
    write(room / "two.npz", {"x": vectors((2, 5, 2))})
    said = cli("zero-shot", shelf / "vector.safetensors", "--reconstruct", room / "two.npz", "--out", room / "o.npz")
    refused(said, "zero-shot", 2, "got vectors of 2 features, expected 3", "two.npz")


def test_what_is_there_stays(cli, abroad, room, refused):
    (room / "o.npz").write_bytes(b"mine")
    said = cli(
        "zero-shot", abroad / "model.safetensors", "--reconstruct", abroad / "small.npz", "--out", room / "o.npz"
    )
    refused(said, "zero-shot", 2, "exists already")
    assert (room / "o.npz").read_bytes() == b"mine"
