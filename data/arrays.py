"""Read clips from array files, write arrays to them: .npz, .npy and .safetensors."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from diffsda.atomic import atomic_write
from diffsda.data.check import Array
from diffsda.data.clip import Clips
from diffsda.data.numpy_files import read_npy, read_npz
from diffsda.errors import InputError

SUFFIXES = (".npz", ".npy", ".safetensors")

_NUMBERS = {
    "bool",
    *(f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
}


def read(path: str | os.PathLike[str]) -> Clips:
    """Read clips from a file.

    .npz and .safetensors hold x and, if they like, lengths and mask (see ``Clips``); every other array of
    whole numbers (N,) or (N, V) becomes a label of its name, the rest is passed over. .npy holds x alone.
    float16 and float64 become float32. Nothing in a file is ever run, and no more memory is taken than its
    arrays need.
    Raises: InputError, one line, if the file is missing, broken, hostile or holds no clips.
    """
    path = Path(path)
    arrays = read_arrays(path)
    try:
        return _clips(arrays, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_arrays(path: Path) -> dict[str, Array]:
    """Read all arrays of a file, among them x, without a look at what they are; .npy holds x alone.

    Raises: InputError, one line, if the file is missing, broken or hostile, or has no x.
    """
    suffix = _suffix(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}; expected a file ending in {', '.join(SUFFIXES)}")
    try:
        if suffix == ".npy":
            arrays = {"x": read_npy(path)}
        else:
            arrays = read_npz(path) if suffix == ".npz" else load_file(path)
    except InputError:
        raise
    except Exception as error:
        # A broken file can fail in any way zipfile, zlib, numpy and safetensors know; all mean the same.
        raise InputError(
            f"{path}: cannot be read as {suffix} ({_cause(error)}); truncated or not such a file?"
        ) from error
    if "x" not in arrays:
        raise InputError(f"{path}: no array 'x', expected one with the clips; found {', '.join(arrays) or 'none'}")
    return arrays


def write(path: str | os.PathLike[str], arrays: Mapping[str, Any], overwrite: bool = False) -> None:
    """Write named arrays of numbers to a file, whole or not at all; the suffix decides the format.

    The same arrays give the same bytes. A .npy file takes one array, whose name is not kept.
    Raises: InputError if the suffix, an array or the folder will not do, or a file is there and ``overwrite``
    is false; SaveError if writing fails (see ``atomic_write``).
    """
    path = Path(path)
    suffix = _suffix(path)
    if not arrays:
        raise InputError(f"{path}: got no arrays, expected at least one to write")
    if suffix == ".npy" and len(arrays) != 1:
        raise InputError(f"{path}: got {len(arrays)} arrays ({', '.join(arrays)}), a .npy file takes one; choose .npz")
    plain = {name: _plain(path, name, value) for name, value in arrays.items()}
    if path.exists() and not overwrite:
        raise InputError(f"{path}: already exists; pass --overwrite to replace it, or choose another name")

    def fill(file: BinaryIO) -> None:
        if suffix == ".npz":
            _fill_npz(file, plain)
        elif suffix == ".npy":
            np.lib.format.write_array(file, next(iter(plain.values())), allow_pickle=False)
        else:
            file.write(to_safetensors(plain))

    atomic_write(path, fill)


def _suffix(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: got suffix {path.suffix or 'none'!r}, expected one of {', '.join(SUFFIXES)}")
    return path.suffix.lower()


def _cause(error: Exception) -> str:
    """Return what is wrong with a file in words that do not take knowing its format."""
    if isinstance(error, zlib.error):
        return "its packed numbers are damaged"
    if isinstance(error, zipfile.BadZipFile):
        return "its checksum, a CRC, does not fit" if "CRC" in str(error) else "it is no whole zip archive"
    if isinstance(error, EOFError):
        return "it ends too early"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _clips(arrays: dict[str, Array], path: Path) -> Clips:
    x = arrays["x"]
    labels = {
        name: value
        for name, value in arrays.items()
        if name not in ("x", "lengths", "mask")
        and value.dtype.kind in "iub"
        and value.shape in (x.shape[:1], x.shape[:2])
    }
    return Clips(x, arrays.get("lengths"), arrays.get("mask"), labels, name=path.stem, source=f"file {path.name}")


def _plain(path: Path, name: str, value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.name not in _NUMBERS:
        raise InputError(f"{path}: array {name!r} holds {array.dtype}, expected whole numbers or floats to write")
    # safetensors (0.8) reads past the end of an array with negative strides: hand it rows in order.
    return np.asarray(array, order="C")


def _fill_npz(file: BinaryIO, arrays: dict[str, Array]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # numpy.savez cannot take arrays called 'file'; a fresh ZipInfo has a fixed date.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
