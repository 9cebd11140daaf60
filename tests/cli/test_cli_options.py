"""Options and outputs that will not do, each beside one that does."""

import typing

import numpy as np
import pytest
import torch
from shelf import names

from diffsda.cli.options import WithModel
from diffsda.data.arrays import read, write
from diffsda.inference.execution import Layout, Precision, Route


@pytest.fixture
def call(cli, shelf, room):
    """Call a verb on the vector model and its clips."""

    def run(verb, *options, out="out.npz"):
        clips = [shelf / "vector.npz"] * (2 if verb == "swap" else 1)
        return cli(verb, shelf / "vector.safetensors", *clips, "--out", room / out, *options)

    return run


def test_a_misspelt_verb_and_no_verb(cli, refused):
    refused(cli("encoed"), "", 2, "got 'encoed'", "expected one of demo, prepare, train", "did you mean 'encode'?")
    refused(cli("xyzzy"), "", 2, "got 'xyzzy'", "expected one of")
    said = cli()
    assert (said.status, said.err) == (2, "")
    assert "usage: diffsda VERB" in said.out
    assert cli("--help").status == 0
    assert cli("--version").out.startswith("diffsda 0.")


# (verb, options, words of the refusal, options of the good twin)
OPTIONS = [
    ("reconstruct", ["--steps", 1], ["steps: got 1", "expected a whole number of at least 2"], ["--steps", 2]),
    ("reconstruct", ["--steps", 0], ["steps: got 0", "at least 2"], ["--steps", 3]),
    ("reconstruct", ["--steps", -4], ["steps: got -4", "at least 2"], []),
    ("reconstruct", ["--steps", 2.5], ["--steps", "2.5", "INT"], []),
    ("swap", ["--steps", 1], ["steps: got 1", "expected a whole number of at least 2"], ["--steps", 2]),
    ("swap", ["--steps", "two"], ["--steps", "'two'", "INT"], []),
    ("reconstruct", ["--seed", -1], ["--seed: got -1", "expected a whole number from 0"], ["--seed", 0]),
    ("reconstruct", ["--seed", 2**64], ["--seed: got 18446744073709551616", "from 0 to"], ["--seed", 2**61]),
    ("swap", ["--seed", -1], ["--seed: got -1", "expected a whole number from 0"], ["--seed", 1]),
    ("encode", ["--batch", 0], ["batch: got 0", "expected at least 1"], ["--batch", 1]),
    ("encode", ["--batch", -3], ["batch: got -3", "expected at least 1"], ["--batch", 3]),
    ("reconstruct", ["--batch", 0], ["batch: got 0", "expected at least 1"], ["--batch", 1]),
    ("swap", ["--batch", 0], ["batch: got 0", "expected at least 1"], ["--batch", 10**6]),
    ("swap", ["--batch", "many"], ["--batch", "'many'", "INT"], []),
    ("reconstruct", ["--noise", "dynamic"], ["'dynamic'", "--noise", "'own', 'fresh'"], ["--noise", "fresh"]),
    ("swap", ["--noise", "own"], ["'own'", "--noise", "'dynamic', 'static', 'fresh', 'shared'"], ["--noise", "shared"]),
    ("encode", ["--device", "tpu9"], ["device: got 'tpu9'", "expected auto, cpu, cuda or cuda:N"], ["--device", "cpu"]),
    ("encode", ["--device", "meta"], ["device: got 'meta'", "expected auto, cpu, cuda"], ["--device", "auto"]),
    ("encode", ["--split", "validation"], ["split: got 'validation'", "expected train, val or"], ["--split", "train"]),
    ("encode", ["--precision", "fp8"], ["'fp8'", "--precision", "'auto', 'float32', 'bf16', 'fp16'"], []),
    ("swap", ["--route", "cuda"], ["'cuda'", "--route", "'auto', 'eager', 'graph', 'compile'"], ["--route", "eager"]),
    ("reconstruct", ["--layout", "nchw"], ["'nchw'", "--layout", "'auto', 'channels_last', 'contiguous'"], []),
    ("encode", ["--tile", 0], ["tile: got 0", "expected a number of frames of at least 1"], ["--tile", 1]),
    ("swap", ["--tile", -2], ["tile: got -2", "of at least 1"], ["--tile", 10**9]),
    ("reconstruct", ["--tile", "all"], ["--tile", "'all'", "INT"], ["--tile", 5]),
    ("encode", ["--bacth", 3], ["--bacth", "3", "diffsda encode --help", "--batch INT"], ["--batch", 3]),
    ("encode", ["extra"], ["extra", "diffsda encode --help"], []),
    ("swap", ["--figure", "a.jpg"], ["--figure: got a.jpg", "expected a file ending in .png"], []),
]


@pytest.mark.parametrize(("verb", "bad", "words", "good"), OPTIONS)
def test_options(verb, bad, words, good, call, room, refused):
    refused(call(verb, *bad), verb, 2, *words)
    assert names(room) == []
    assert call(verb, *good).status == 0
    assert names(room) == ["out.npz"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_where_there_is_none(device, call, room, refused, cli, shelf):
    refused(call("encode", "--device", device), "encode", 2, repr(device), "no CUDA device", "use cpu or auto")
    said = cli("train", "tiny_vector", "--data", "series", "--out", room / "run", "--device", device)
    refused(said, "train", 2, repr(device), "no CUDA device", "use cpu or auto")
    assert names(room) == []


@pytest.mark.parametrize("verb", ["encode", "reconstruct", "swap"])
def test_a_graph_where_there_is_no_cuda_device(verb, call, room, refused):
    refused(call(verb, "--route", "graph", "--device", "cpu"), verb, 2, "route: got 'graph' on cpu", "eager or compile")
    assert names(room) == []


def test_compiling_without_a_compiler(call, room, refused, monkeypatch):
    monkeypatch.setenv("CXX", str(room / "no-such-compiler"))
    said = call("encode", "--route", "compile", "--device", "cpu")
    refused(said, "encode", 3, "route: got compile", f"there is no {room / 'no-such-compiler'}", "apt install g++")
    assert names(room) == []
    assert call("encode", "--device", "cpu").status == 0


def test_the_choices_are_those_of_an_execution():
    offered = typing.get_type_hints(WithModel)
    for name, kind in {"precision": Precision, "route": Route, "layout": Layout}.items():
        assert typing.get_args(offered[name]) == typing.get_args(kind), name


@pytest.mark.parametrize("verb", ["encode", "reconstruct", "swap"])
def test_nothing_given(verb, cli, refused):
    refused(cli(verb), verb, 2, "MODEL", "--out PATH", "(required)", f"see `diffsda {verb} --help`")


@pytest.mark.parametrize("verb", ["encode", "reconstruct", "swap"])
def test_an_output_that_is_there_is_kept(verb, call, room, refused):
    out = room / "out.npz"
    out.write_bytes(b"precious")
    said = call(verb)
    refused(said, verb, 2, f"--out: {out} exists already", "expected a new file (or --overwrite)")
    assert out.read_bytes() == b"precious"
    assert call(verb, "--overwrite").status == 0
    assert names(room) == ["out.npz"]
    with np.load(out) as held:
        assert len(held.files) >= 1


def test_an_imported_model_that_is_there_is_kept(cli, room, refused, golden):
    out = room / "m.safetensors"
    out.write_bytes(b"precious")
    path = golden / "timeseries.weights.safetensors"
    refused(cli("import", path, "--out", out), "import", 2, f"{out} exists already", "(or --overwrite)")
    assert out.read_bytes() == b"precious"
    assert cli("import", path, "--out", out, "--overwrite").status == 0
    assert cli("describe", out).status == 0
    assert names(room) == ["m.safetensors"]


@pytest.mark.parametrize("verb", ["encode", "reconstruct", "swap"])
def test_outputs_that_cannot_be(verb, call, room, refused):
    said = call(verb, out="no/such/out.npz")
    refused(said, verb, 2, "--out: got", "no/such/out.npz", "expected a folder that exists")
    assert names(room) == []
    refused(call(verb, out="out.mat"), verb, 2, "--out: got", "out.mat", "expected", ".npz")
    refused(call(verb, out=""), verb, 2, "--out: got", str(room), "expected")
    (room / "folder.npz").mkdir()
    refused(call(verb, out="folder.npz"), verb, 2, "--out: got the folder", "expected the name of a file")
    (room / "file").write_text("")
    refused(call(verb, out="file/out.npz"), verb, 2, "--out: got", "expected a folder that exists")
    assert names(room) == ["file", "folder.npz"]


def test_factors_do_not_fit_into_npy(call, room, refused):
    said = call("encode", out="out.npy")
    refused(said, "encode", 2, "out.npy", "expected .npz or .safetensors", "two arrays")
    assert call("encode", out="out.safetensors").status == 0
    assert call("reconstruct", out="x.npy").status == 0


@pytest.mark.parametrize("verb", ["swap", "reconstruct"])
def test_a_figure_that_is_there_is_kept_and_named(verb, call, room, refused):
    figure = room / "f.png"
    figure.write_bytes(b"precious")
    said = call(verb, "--figure", figure)
    refused(said, verb, 2, f"--figure: {figure} exists already", "(or --overwrite)")
    said = call(verb, "--figure", room / "no" / "f.png")
    refused(said, verb, 2, "--figure: got", "expected a folder that exists")
    refused(call(verb, "--figure", room), verb, 2, "--figure: got", "expected a file ending in .png")
    assert figure.read_bytes() == b"precious"
    assert names(room) == ["f.png"]
    said = call(verb, "--figure", figure, "--overwrite", "--steps", 2)
    assert said.status == 0
    assert said.out.startswith(f"{room / 'out.npz'}\n")
    assert str(figure) in said.out + said.err
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert names(room) == ["f.png", "out.npz"]


@pytest.mark.parametrize(("static", "dynamic", "made"), [(2, 3, None), (4, 2, None), (1, 4, 4), (3, 1, 3), (3, 3, 3)])
def test_donors_pair_one_to_one_or_one_to_all(static, dynamic, made, cli, shelf, room, tmp_path, refused):
    x = read(shelf / "vector.npz").x
    write(tmp_path / "s.npz", {"x": x[:static]})
    write(tmp_path / "d.npz", {"x": x[:dynamic]})
    words = ["swap", shelf / "vector.safetensors", tmp_path / "s.npz", tmp_path / "d.npz", "--out", room / "x.npz"]
    said = cli(*words)
    if made is None:
        refused(said, "swap", 2, f"got {static} static and {dynamic} dynamic donors", "expected as many", "--grid")
        assert names(room) == []
    else:
        assert len(read(room / "x.npz")) == made
    assert cli(*words, "--grid", "--overwrite").status == 0
    assert len(read(room / "x.npz")) == static * dynamic


def test_donors_of_different_lengths(cli, shelf, room, tmp_path, refused):
    x = read(shelf / "vector.npz").x
    write(tmp_path / "s.npz", {"x": x[:, :5]})
    words = ["swap", shelf / "vector.safetensors", tmp_path / "s.npz", shelf / "vector.npz", "--out", room / "x.npz"]
    said = cli(*words, "--noise", "static")
    refused(said, "swap", 2, "got donors of 5 and 7 frames", "expected as many frames", "static donor")
    assert names(room) == []
    for noise in ("dynamic", "fresh", "shared"):
        assert cli(*words, "--noise", noise, "--overwrite").status == 0
        assert read(room / "x.npz").x.shape == (4, 7, 3)


def test_a_bug_is_one_line_and_shows_itself_on_request(cli, monkeypatch):
    import diffsda.cli.doctor

    def broken(_argv):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(diffsda.cli.doctor, "run", broken)
    monkeypatch.delenv("DIFFSDA_TRACEBACK", raising=False)
    said = cli("doctor")
    assert said.status == 1
    assert said.err.startswith("diffsda doctor: error: unexpected RuntimeError: two lines (set DIFFSDA_TRACEBACK=1")
    assert said.err.count("\n") == 1
    monkeypatch.setenv("DIFFSDA_TRACEBACK", "1")
    assert "Traceback" in cli("doctor").err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory; use a smaller --batch or fewer clips"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "out of memory on the device; use a smaller batch"),
        (ModuleNotFoundError("no", name="sklearn.svm"), 3, "sklearn is not installed: pip install scikit-learn"),
        (ModuleNotFoundError("no", name="odd"), 3, "odd is not installed: pip install odd"),
        (ModuleNotFoundError("no", name="diffsda.gone"), 1, "unexpected ModuleNotFoundError"),
    ],
)
def test_other_ends(error, status, words, cli, monkeypatch):
    import diffsda.cli.doctor

    def stop(_argv):
        raise error

    monkeypatch.setattr(diffsda.cli.doctor, "run", stop)
    said = cli("doctor")
    assert (said.status, said.out, said.err.count("\n")) == (status, "", 1)
    assert words in said.err
