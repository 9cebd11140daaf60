"""Read .npy and .npz files that may be broken or hostile: sizes are checked before memory is taken."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from diffsda.data.check import Array
from diffsda.errors import InputError

MOST_RATIO = 200
"""An archive that unpacks to more than this many times its size is refused, if it is also larger than ..."""
MOST_BYTES = 2**30
"""... this. Clips of real numbers hardly shrink; only an array of constants comes near."""


def read_npy(path: Path) -> Array:
    """Read the one array of a .npy file. Raises: InputError, or whatever a broken file makes numpy raise."""
    size = path.stat().st_size
    _check_memory(path, size)
    with path.open("rb") as file:
        _check_header(file, size, f"{path}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def read_npz(path: Path) -> dict[str, Array]:
    """Read the arrays of a .npz file; members that are no arrays are passed over.

    Raises: InputError if it holds Python objects, would unpack to far more than its size, or a header does
    not match its data; whatever a broken archive makes zipfile and numpy raise.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        # The size on disk, not the sum the archive declares: overlapping members would count twice there.
        declared, packed = sum(member.file_size for member in members), max(path.stat().st_size, 1)
        if declared > MOST_BYTES and declared > MOST_RATIO * packed:
            raise InputError(
                f"{path}: {packed} bytes that would unpack to {declared}, expected at most {MOST_RATIO} "
                "times as much; if the file is yours, save it without compression"
            )
        _check_memory(path, declared)
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                _check_header(file, member.file_size, f"{path}: array {name!r}")
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def shape_in(path: Path, name: str = "x") -> tuple[int, ...]:
    """Return the shape that the header of a .npy file promises, or that of array ``name`` of a .npz file.

    Raises: InputError for Python objects and unknown versions; whatever a broken file makes zipfile and numpy raise.
    """
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _header(file, f"{path}")[0]
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        return _header(member, f"{path}: array {name!r}")[0]


def _check_header(file: IO[bytes], size: int, what: str) -> None:
    """Compare what the header promises with the bytes there are."""
    shape, dtype = _header(file, what)
    promised, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != there:
        raise InputError(
            f"{what}: header says shape {shape} of {dtype} ({promised} bytes) but {there} bytes follow; "
            "the file is truncated or forged"
        )


def _header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and type, and come to stand behind them."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise InputError(f"{what}: got npy version {version}, expected plain numbers (version 1 or 2)")
    if dtype.hasobject:
        raise InputError(f"{what}: holds Python objects, which could run code; expected plain numbers")
    return tuple(shape), dtype


def _check_memory(path: Path, size: int) -> None:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if size > memory:
        raise InputError(
            f"{path}: needs {size / 2**30:.1f} GiB of memory, this machine has {memory / 2**30:.1f}; "
            "bring the clips in smaller files"
        )
