"""Read the clips of one file: a reader for each ending, behind one small interface."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file

from diffsda.data.arrays import SUFFIXES
from diffsda.data.clip import Clips
from diffsda.data.numpy_files import read_npy, read_npz
from diffsda.errors import InputError
from diffsda.header import read_header

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Contents:
    """What a file holds, its clips not looked at yet, so that a broken one stands for itself alone.

    Shapes: x (N, V, F) or (N, V, C, H, W), lengths (N,) or None, mask like x or None.
    """

    path: Path
    x: Array
    lengths: Array | None = None
    mask: Array | None = None

    def __post_init__(self) -> None:
        if self.x.ndim not in (3, 5):
            raise InputError(
                f"x: got shape {self.x.shape}, expected one clip, (frames, features) or (frames, channels, height, "
                "width), or a batch of them"
            )
        if self.lengths is not None and self.lengths.shape != self.x.shape[:1]:
            raise InputError(f"lengths: got shape {self.lengths.shape}, expected ({len(self.x)},), one number a clip")
        if self.mask is not None and self.mask.shape != self.x.shape:
            raise InputError(f"mask: got shape {self.mask.shape}, expected x's {self.x.shape}")

    def clip(self, row: int) -> Clips:
        """Return one clip.

        Raises: InputError if it is not there or not usable (see ``Clips``).
        """
        if not row < len(self.x):
            raise InputError(f"got {len(self.x)} clips, expected more than {row}; did the file change?")
        lengths, mask = (None if a is None else a[row : row + 1] for a in (self.lengths, self.mask))
        return Clips(self.x[row : row + 1], lengths, mask, name=self.path.stem, source=f"file {self.path.name}")


class Reader(Protocol):
    """What a kind of file must be able to say: how many clips it holds, and what they are."""

    def count(self, path: Path) -> int | None:
        """Return the number of clips of a batch file, or None where the file is one clip.

        Reads as little as that takes. Raises: any error for a file that cannot be read.
        """
        ...

    def read(self, path: Path) -> Contents:
        """Return all clips of a file, one or many.

        Raises: any error for a file that cannot be read or holds no clips; its text is the reason.
        """
        ...


class Arrays:
    """Array files: x (V, F) or (V, C, H, W) is one clip, x (N, V, F) or (N, V, C, H, W) a batch of N.

    Beside x a .npz or .safetensors file may hold lengths (N,), for one clip () or (1,), and a mask like x.
    """

    def count(self, path: Path) -> int | None:
        """Return the length of the first axis of a batch, from the header alone."""
        shape = _shape(path)
        return shape[0] if len(shape) in (3, 5) else None

    def read(self, path: Path) -> Contents:
        """Return the clips of an array file."""
        arrays = _arrays(path)
        if "x" not in arrays:
            raise InputError(f"no array 'x', expected one with the clips; found {', '.join(arrays) or 'none'}")
        x, lengths, mask = arrays["x"], arrays.get("lengths"), arrays.get("mask")
        if x.ndim in (2, 4):
            x, mask = x[None], None if mask is None else mask[None]
            lengths = None if lengths is None else np.reshape(lengths, -1)
        return Contents(path, x, lengths, mask)


READERS: dict[str, Reader] = {suffix: Arrays() for suffix in SUFFIXES}
"""File ending, in small letters -> what reads such files."""


def reader_of(path: Path) -> Reader:
    """Return the reader for a file.

    Raises: InputError for an ending that none reads.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise InputError(f"{path}: got suffix {suffix or 'none'!r}, expected one of {', '.join(READERS)}")
    return READERS[suffix]


def count(path: Path) -> int | None:
    """Return the number of clips of a batch file, or None for one clip and for a file that cannot be read.

    The latter fails when its turn comes, and holds up nothing.
    """
    try:
        return reader_of(path).count(path)
    except Exception:
        return None


def read(path: Path) -> Contents:
    """Return what a file holds.

    Raises: InputError, one line, whatever is wrong with it.
    """
    reader = reader_of(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}, expected a file with clips")
    try:
        return reader.read(path)
    except Exception as error:
        # A broken file can fail in any way its format's library knows; all mean the same.
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _shape(path: Path) -> tuple[int, ...]:
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return read_header(path).tensors["x"][1]
    if suffix == ".npy":
        with path.open("rb") as file:
            return _npy_shape(file)
    with zipfile.ZipFile(path) as archive, archive.open("x.npy") as member:
        return _npy_shape(member)


def _npy_shape(file: Any) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read_shape = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return tuple(read_shape(file)[0])


def _arrays(path: Path) -> Mapping[str, Array]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {"x": read_npy(path)}
    return read_npz(path) if suffix == ".npz" else load_file(path)
