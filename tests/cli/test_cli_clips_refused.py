"""Every kind of clips that are no clips, through the command line; beside each a twin that is read."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from diffsda.data.arrays import write

X = np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float32)
V = np.random.default_rng(0).normal(size=(3, 4, 2, 8, 8)).astype(np.float32)


def spoiled(value):
    x = X.copy()
    x[2, 5, 1] = value
    return x


# name -> (model, arrays that are refused, words of the message, arrays that are not)
ARRAYS = {
    "rank 2": ("vector", {"x": X[0]}, ["got shape (7, 3)", "expected (clips, frames, features)", "x[None]"], {"x": X}),
    "rank 4": ("vector", {"x": X[None]}, ["(1, 4, 7, 3)", "expected (clips, frames, features)"], {"x": X}),
    "video for a vector model": ("vector", {"x": V}, ["got (3, 4, 2, 8, 8)", "expected (N, V, 3)"], {"x": X}),
    "vectors for a video model": ("video", {"x": X}, ["got (4, 7, 3)", "expected (N, V, 2, 8, 8)"], {"x": V}),
    "features": ("vector", {"x": X[..., :2]}, ["got (4, 7, 2)", "expected (N, V, 3)"], {"x": X}),
    "channels": ("video", {"x": V[:, :, :1]}, ["got (3, 4, 1, 8, 8)", "expected (N, V, 2, 8, 8)"], {"x": V}),
    "frame size": ("video", {"x": V[..., :6]}, ["got (3, 4, 2, 8, 6)", "expected (N, V, 2, 8, 8)"], {"x": V}),
    "integers": ("vector", {"x": X.astype(np.int32)}, ["int32", "expected floats", "astype"], {"x": X}),
    "bytes": ("video", {"x": V.astype(np.uint8)}, ["uint8", "expected floats", "127.5"], {"x": V}),
    "complex": (
        "vector",
        {"x": X.astype(np.complex64)},
        ["complex64", "expected float16, float32 or float64"],
        {"x": X.astype(np.float16)},
    ),
    "NaN": ("vector", {"x": spoiled(np.nan)}, ["x[2, 5, 1]", "NaN", "expected a finite number"], {"x": spoiled(9)}),
    "Inf": ("vector", {"x": spoiled(-np.inf)}, ["x[2, 5, 1]", "-inf", "expected a finite"], {"x": spoiled(-9)}),
    "too large": (
        "vector",
        {"x": spoiled(0).astype(np.float64) * 0 + 1e39},
        ["1e+39", "too large for float32"],
        {"x": X.astype(np.float64)},
    ),
    "empty batch": ("vector", {"x": X[:0]}, ["no clips", "expected at least 1"], {"x": X[:1]}),
    "one frame": ("vector", {"x": X[:, :1]}, ["got 1 frame", "expected at least 2"], {"x": X[:, :2]}),
    "no features": ("vector", {"x": X[..., :0]}, ["(4, 7, 0)", "size 0"], {"x": X}),
    "length 0": ("vector", {"x": X, "lengths": [7, 0, 7, 7]}, ["lengths[1]", "got 0", "expected 2 to 7"], None),
    "length 1": ("vector", {"x": X, "lengths": [7, 7, 1, 7]}, ["lengths[2]", "got 1", "expected 2 to 7"], None),
    "length > V": ("vector", {"x": X, "lengths": [8, 7, 7, 7]}, ["lengths[0]", "got 8", "expected 2 to 7"], None),
    "lengths' shape": ("vector", {"x": X, "lengths": [7, 7]}, ["lengths", "shape (2,)", "expected (4,)"], None),
    "float lengths": ("vector", {"x": X, "lengths": [7.0] * 4}, ["lengths", "float64", "expected integers"], None),
    "mask's shape": (
        "vector",
        {"x": X, "mask": np.zeros((4, 7))},
        ["mask", "got shape (4, 7)", "expected x's (4, 7, 3)"],
        {"x": X, "mask": np.zeros(X.shape)},
    ),
    "mask's values": (
        "vector",
        {"x": X, "mask": np.full(X.shape, 0.5)},
        ["mask[0, 0, 0]", "0.5", "expected only 1 (missing) and 0 (known)"],
        {"x": spoiled(np.nan), "mask": np.isnan(spoiled(np.nan)).astype(np.float32)},
    ),
    "no x": (
        "vector",
        {"clips": X, "y": X},
        ["no array 'x'", "expected one with the clips", "clips, y"],
        {"x": X, "y": X},
    ),
}
TWIN = {"x": X, "lengths": np.array([7, 2, 3, 7])}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_no_clips(case, cli, shelf, tmp_path, room, refused):
    model, bad, words, good = ARRAYS[case]
    np.savez(tmp_path / "bad.npz", **bad)
    np.savez(tmp_path / "good.npz", **(good or TWIN))
    model = shelf / f"{model}.safetensors"
    refused(cli("encode", model, tmp_path / "bad.npz", "--out", room / "z.npz"), "encode", 2, *words)
    refused(cli("reconstruct", model, tmp_path / "bad.npz", "--out", room / "x.npz"), "reconstruct", 2, *words)
    bad_static = cli("swap", model, tmp_path / "bad.npz", tmp_path / "good.npz", "--out", room / "x.npz")
    bad_dynamic = cli("swap", model, tmp_path / "good.npz", tmp_path / "bad.npz", "--out", room / "x.npz")
    refused(bad_static, "swap", 2, *words)
    refused(bad_dynamic, "swap", 2, *words)
    assert list(room.iterdir()) == []
    said = cli("encode", model, tmp_path / "good.npz", "--out", room / "z.npz")
    assert (said.status, said.err, said.out) == (0, "", f"{room / 'z.npz'}\n")


@pytest.mark.parametrize("case", ["rank 2", "features", "integers", "NaN", "one frame", "float lengths"])
def test_training_refuses_them_too_and_makes_no_folder(case, cli, tmp_path, room, refused):
    _, bad, words, _ = ARRAYS[case]
    np.savez(tmp_path / "bad.npz", **bad)
    words = ["(4, 7, 2)", "expected (N, V, 3)", "clips.channels"] if case == "features" else words
    said = cli("train", "tiny_vector", "--clips.channels", 3, "--data", tmp_path / "bad.npz", "--out", room / "run")
    refused(said, "train", 2, *words)
    assert list(room.iterdir()) == []


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def bomb():
    """Return a deflated archive whose directory says it unpacks to 3 GiB; so it would, were it honest."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", npy(np.zeros((2, 4, 3), np.float32)))
        file.filelist[0].file_size = 3 * 2**30
    return buffer.getvalue()


def forged_shape():
    """Return an .npy whose header promises 12 TB of numbers."""
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6, 3)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(336)


# name -> (file name, its bytes, words of the message)
def files(trap):
    whole, tensors = npy(X), archive(x=npy(X))
    objects = npy(np.array([Trap(trap), 1], dtype=object), allow_pickle=True)
    return {
        "npy cut in its data": ("a.npy", whole[:-10], ["a.npy", "336 bytes", "326 bytes follow", "truncated"]),
        "npy cut in its header": ("a.npy", whole[:20], ["a.npy", "cannot be read as .npy", "truncated"]),
        "npy empty": ("a.npy", b"", ["a.npy", "cannot be read as .npy", "truncated"]),
        "npy forged": ("a.npy", forged_shape(), ["a.npy", "(1000000, 1000000, 3)", "336 bytes follow", "forged"]),
        "npy with objects": ("a.npy", objects, ["a.npy", "Python objects", "expected plain numbers"]),
        "a bare pickle": ("a.npy", pickle.dumps(Trap(trap)), ["a.npy", "cannot be read as .npy"]),
        "npz cut": ("a.npz", tensors[: len(tensors) // 2], ["a.npz", "cannot be read as .npz", "truncated"]),
        "npz empty": ("a.npz", b"", ["a.npz", "cannot be read as .npz"]),
        "npz with objects": ("a.npz", archive(x=objects), ["a.npz", "'x'", "Python objects", "expected plain"]),
        "npz with a cut array": ("a.npz", archive(x=whole[:-4]), ["a.npz", "332 bytes follow", "truncated"]),
        "npz bomb": ("a.npz", bomb(), ["a.npz", "unpack to 3221225472", "expected at most 200 times"]),
        "safetensors cut": ("a.safetensors", None, ["a.safetensors", "cannot be read as .safetensors", "truncated"]),
        "random bytes": ("a.safetensors", b"\x07" * 64, ["a.safetensors", "cannot be read as .safetensors"]),
        "unknown suffix": ("a.mat", b"hello", ["got suffix '.mat'", "expected one of .npz, .npy, .safetensors"]),
    }


@pytest.mark.parametrize("case", files(""))
def test_files_that_are_broken_or_hostile(case, cli, shelf, tmp_path, room, refused):
    trap = tmp_path / "sprung"
    name, data, words = files(trap)[case]
    path = tmp_path / name
    if data is None:
        write(path, {"x": X})
        data = path.read_bytes()[:-5]
    path.write_bytes(data)
    said = cli("encode", shelf / "vector.safetensors", path, "--out", room / "z.npz")
    refused(said, "encode", 2, *words)
    assert not trap.exists()
    assert list(room.iterdir()) == []
    # The same name with the whole file is read.
    good = tmp_path / ("good" + path.suffix.replace(".mat", ".npz"))
    write(good, {"x": X})
    assert cli("encode", shelf / "vector.safetensors", good, "--out", room / "z.npz").status == 0


def test_the_trap_is_a_trap(tmp_path):
    trap = tmp_path / "sprung"
    (tmp_path / "a.npy").write_bytes(npy(np.array([Trap(trap), 1], dtype=object), allow_pickle=True))
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert trap.exists()


def test_a_missing_file_a_folder_and_a_misspelt_name(cli, shelf, tmp_path, room, refused):
    model, out = shelf / "vector.safetensors", room / "z.npz"
    gone = cli("encode", model, tmp_path / "gone.npz", "--out", out)
    refused(gone, "encode", 2, "gone.npz", "no such file", "expected a file ending in .npz, .npy, .safetensors")
    refused(cli("encode", model, tmp_path, "--out", out), "encode", 2, str(tmp_path), "dataset.json")
    near = cli("encode", model, "japanese_vowel", "--out", out)
    refused(near, "encode", 2, "'japanese_vowel'", "did you mean 'japanese_vowels'?", "expected one of", "tones")
    split = cli("encode", model, "japanese_vowels", "--split", "tset", "--out", out)
    refused(split, "encode", 2, "'tset'", "expected train, val or test", "did you mean 'test'?")
    wide = cli("encode", model, "japanese_vowels", "--out", out)
    refused(wide, "encode", 2, "japanese_vowels", "29, 12)", "expected (N, V, 3)")
    assert list(room.iterdir()) == []
