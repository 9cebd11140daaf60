"""interpolate and lengthen: what they write, print and draw, and what they refuse."""

import contextlib
import json
import resource
import shutil

import numpy as np
import pytest
from shelf import VECTOR, build, names, vectors

from diffsda.checkpoint import save
from diffsda.data.arrays import read, write
from diffsda.report.canvas import provenance

QUICK = ("--prior.layers", 3, "--prior.width", 2, "--prior.sampling-steps", 5, "--fit.steps", 2, "--fit.batch", 4)


@pytest.fixture(scope="module")
def home(shelf, tmp_path_factory):
    """Return a run folder with a model and its prior, and clips of varied lengths beside it."""
    from diffsda.cli import main

    folder = tmp_path_factory.mktemp("home")
    shutil.copy(shelf / "vector.safetensors", folder / "weights-00000010.safetensors")
    words = ("train-prior", folder, "--data", shelf / "vector.npz", "--device", "cpu", *QUICK)
    assert main([str(word) for word in words]) == 0
    write(folder / "varied.npz", {"x": vectors((4, 7, 3)), "lengths": np.array([7, 3, 5, 6]), "who": np.arange(4)})
    write(folder / "long.npz", {"x": vectors((40, 9, 3))})
    save(build(VECTOR.replace(encoder={"shared_static": False})), folder / "frame.safetensors")
    return folder


def test_a_walk_between_clips(cli, home, room):
    out, figure, clips = room / "w.npz", room / "w.png", home / "varied.npz"
    words = (home, clips, clips, "--a-rows", 0, 1, "--b-rows", 2, 3, "--steps-between", 2)
    said = cli("interpolate", *words, "--out", out, "--figure", figure, "--json")
    assert said.status == 0, said.err
    about = json.loads(said.out)
    assert about["pairs"] == [[0, 2], [1, 3]]
    assert about["lengths"] == [[7, 6, 6, 5], [3, 4, 5, 6]]
    assert said.err.endswith(f"{figure}\n")
    held, arrays = read(out), np.load(out)
    assert held.x.shape == (8, 7, 3)
    assert held.labels["pair"].tolist() == [0] * 4 + [1] * 4
    assert held.labels["step"].tolist() == [0, 1, 2, 3] * 2
    np.testing.assert_allclose(arrays["share"], [0, 1 / 3, 2 / 3, 1] * 2)
    # The ends are the reconstructions, in the units of the clips.
    assert cli("reconstruct", home, clips, "--out", room / "r.npz").status == 0
    np.testing.assert_allclose(held.x[[0, 4, 3, 7]], read(room / "r.npz").x, rtol=1e-4, atol=1e-4)
    assert figure.stat().st_size > 1000
    assert provenance(figure)["along"] == "linear"


def test_one_clip_goes_to_several(cli, home, room):
    words = (home, home / "varied.npz", home / "varied.npz", "--b-rows", 1, 2, 3, "--steps-between", 0)
    more = ("--factor", "static", "--path", "slerp", "--noise", "fresh", "--seed", 3)
    said = cli("interpolate", *words, *more, "--out", room / "w.safetensors")
    assert (said.status, said.out) == (0, f"{room / 'w.safetensors'}\n")
    assert read(room / "w.safetensors").lengths.tolist() == [7] * 6


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--out", "w.npy"), "several arrays to keep"),
        (("--steps-between", -1), "--steps-between: got -1"),
        (("--a-rows", 4), "--a-rows: got 4, expected rows 0 to 3 of varied"),
        (("--b-rows", -1), "--b-rows: got -1"),
        (("--a-rows", 0, 1, "--b-rows", 1, 2, 3), "expected as many of each"),
        (("--factor", "all"), "--factor: got 'all', expected one of 'static', 'dynamic', 'both'"),
        (("--path", "arc"), "--path: got 'arc', expected one of 'linear', 'slerp'"),
        (("--steps", 1), "steps: got 1"),
        (("--seed", -1), "--seed: got -1"),
        (("--figure", "w.pdf"), "--figure: got w.pdf"),
        (("--first-stage", "x"), "--first-stage: got x"),
    ],
)
def test_what_interpolate_refuses(cli, home, room, refused, words, error):
    out = () if "--out" in words else ("--out", room / "w.npz")
    said = cli("interpolate", home, home / "varied.npz", home / "varied.npz", *out, *words)
    refused(said, "interpolate", 2, error)
    assert names(room) == []


@pytest.mark.parametrize("how", ["hold", "loop", "pingpong", "resample", "prior"])
def test_clips_are_lengthened(cli, home, room, how):
    out, figure = room / "l.npz", room / "l.png"
    words = (home, home / "varied.npz", "--frames", 12, "--how", how, "--count", 3, "--at-once", 4)
    # One is drawn: figures take longer than all the rest.
    drawn = ("--figure", figure) if how == "prior" else ()
    said = cli("lengthen", *words, "--out", out, *drawn, "--json")
    assert said.status == 0, said.err
    about = json.loads(said.out)
    assert (about["clips"], about["frames"], about["from"], about["how"]) == (3, 12, [3, 7], how)
    held = read(out)
    assert held.x.shape == (3, 12, 3)
    assert held.lengths is None
    assert held.labels["who"].tolist() == [0, 1, 2]
    if drawn:
        assert figure.stat().st_size > 1000
        assert provenance(figure)["how"] == how
    if how not in ("resample", "prior"):
        assert cli("reconstruct", home, home / "varied.npz", "--out", room / "r.npz").status == 0
        back = read(room / "r.npz")
        for i, n in enumerate((7, 3, 5)):
            np.testing.assert_allclose(held.x[i, :n], back.x[i, :n], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--frames", 6), "frames: got 6, expected at least 7"),
        (("--how", "stop"), "--how: got 'stop', expected one of 'hold', 'loop', 'pingpong', 'resample', 'prior'"),
        (("--count", 0), "--count: got 0"),
        (("--at-once", 1), "--at-once: got 1"),
        (("--overlap", 2), "--overlap: got 2 with --how pingpong"),
        (("--how", "prior", "--overlap", 4), "overlap: got 4 frames, expected 0 to 3"),
        (("--how", "prior", "--prior", "none.safetensors"), "there is no none.safetensors"),
        (("--how", "prior", "--prior-steps", 0), "from 1 to the prior's 1000"),
        (("--how", "resample", "--noise", "own"), "noise: got own for resample"),
        (("--how", "prior", "--noise", "repeat"), "noise: got repeat for prior"),
        (("--steps", 1), "steps: got 1"),
        (("--split", "testing"), "split"),
    ],
)
def test_what_lengthen_refuses(cli, home, room, refused, words, error):
    frames = () if "--frames" in words else ("--frames", 12)
    data = "japanese_vowels" if "--split" in words else home / "varied.npz"
    refused(cli("lengthen", home, data, *frames, *words, "--out", room / "l.npz"), "lengthen", 2, error)
    assert names(room) == []


def test_files_that_are_there_or_are_no_clips(cli, home, shelf, room, refused):
    (room / "there.npz").write_bytes(b"mine")
    good = home / "varied.npz"
    for verb, words in (("interpolate", (good,)), ("lengthen", ("--frames", 9))):
        said = cli(verb, home, good, *words, "--out", room / "there.npz")
        refused(said, verb, 2, "there.npz exists already", "--overwrite")
        refused(cli(verb, home, room / "there.npz", *words, "--out", room / "o.npz"), verb, 2, "cannot be read as .npz")
        said = cli(verb, home, shelf / "video.npz", *words, "--out", room / "o.npz")
        refused(said, verb, 2, "(3, 4, 2, 8, 8)", "expected (N, V, 3)")
        said = cli(verb, home, room / "none.npz", *words, "--out", room / "o.npz")
        refused(said, verb, 2, "no such file")
        said = cli(verb, room / "none", good, *words, "--out", room / "o.npz")
        assert said.status != 0
        assert "none" in said.err
    assert (room / "there.npz").read_bytes() == b"mine"
    assert names(room) == ["there.npz"]


def test_models_that_cannot_be_lengthened_or_drawn(cli, home, shelf, room, refused):
    clips, out = home / "varied.npz", room / "o.npz"
    said = cli("lengthen", home / "frame.safetensors", clips, "--frames", 9, "--out", out)
    refused(said, "lengthen", 2, "new frames would have none")
    said = cli("lengthen", shelf / "vector.safetensors", clips, "--frames", 9, "--how", "prior", "--out", out)
    refused(said, "lengthen", 2, "diffsda train-prior")
    video = (shelf / "video.safetensors", shelf / "video.npz")
    for verb, words in (("interpolate", (video[1],)), ("lengthen", ("--frames", 6))):
        said = cli(verb, *video, *words, "--out", out, "--figure", room / "f.png")
        refused(said, verb, 2, "got a model of 2 channels, expected 1 or 3")
        assert names(room) == []
        assert cli(verb, *video, *words, "--out", out).status == 0
        assert read(out).x.shape[2:] == (2, 8, 8)
        out.unlink()
    assert cli("lengthen", *video, "--frames", 6, "--out", room / "o.npy").status == 0
    assert np.load(room / "o.npy").shape == (3, 6, 2, 8, 8)


@contextlib.contextmanager
def small_files(limit):
    """Let no file grow past a number of bytes, as on a disk that is all but full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(cli, home, room):
    clips, out = home / "varied.npz", room / "o.npz"
    out.write_bytes(b"precious")
    for words in (
        ("interpolate", home, clips, clips, "--steps-between", 60),
        ("lengthen", home, clips, "--frames", 200, "--noise", "fresh"),
        ("zero-shot", home, "--reconstruct", home / "long.npz"),
        ("zero-shot", home, "--static", home / "long.npz", "--dynamic", home / "long.npz", "--both"),
    ):
        with small_files(2000):
            said = cli(*words, "--out", out, "--overwrite", "--steps", 2)
        assert said.status == 1, said
        assert "could not be written" in said.err
        assert out.read_bytes() == b"precious"
        assert names(room) == ["o.npz"]
