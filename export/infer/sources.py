"""Read the clips of one file: a reader for each ending, behind one small interface."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from diffsda.data.arrays import SUFFIXES, read_arrays
from diffsda.data.audio import waves
from diffsda.data.numpy_files import shape_in
from diffsda.data.own import table_files
from diffsda.data.video import probe
from diffsda.errors import InputError, MissingPackage
from diffsda.export.infer.contents import Contents
from diffsda.export.infer.media import Sounds, Tables, Videos
from diffsda.header import read_header
from diffsda.recipe import Clips as Form


class Reader(Protocol):
    """What a kind of file must be able to say: how many clips it holds, and what they are.

    ``form``: the clips that are wanted, where somebody knows.
    """

    def count(self, path: Path, form: Form | None) -> int | None:
        """Return the number of clips of a batch file, or None where the file is one clip.

        Reads as little as that takes. Raises: any error for a file that cannot be read.
        """
        ...

    def read(self, path: Path, form: Form | None) -> Contents:
        """Return all clips of a file, one or many.

        Raises: any error for a file that cannot be read or holds no clips; its text is the reason.
        """
        ...


class Arrays:
    """Array files: x (V, F) or (V, C, H, W) is one clip, x (N, V, F) or (N, V, C, H, W) a batch of N.

    Beside x a .npz or .safetensors file may hold lengths (N,), for one clip () or (1,), and a mask like x.
    """

    def count(self, path: Path, form: Form | None) -> int | None:
        """Return the length of the first axis of a batch, from the header alone."""
        shape = read_header(path).tensors["x"][1] if path.suffix.lower() == ".safetensors" else shape_in(path)
        return shape[0] if len(shape) in (3, 5) else None

    def read(self, path: Path, form: Form | None) -> Contents:
        """Return the clips of an array file."""
        arrays = read_arrays(path)
        x, lengths, mask = arrays["x"], arrays.get("lengths"), arrays.get("mask")
        if x.ndim in (2, 4):
            x, mask = x[None], None if mask is None else mask[None]
            lengths = None if lengths is None else np.reshape(lengths, -1)
        return Contents(path, x, lengths, mask)


OF_MODALITY: dict[str, dict[str, Reader]] = {
    "video": dict.fromkeys(sorted(probe.SUFFIXES), Videos()),
    "audio": dict.fromkeys(waves.SUFFIXES, Sounds()),
    "series": dict.fromkeys(table_files.SUFFIXES, Tables()),
}
"""Modality of a model -> file ending, in small letters -> what reads such files, beside arrays."""
ARRAYS: dict[str, Reader] = dict.fromkeys(SUFFIXES, Arrays())
READERS: dict[str, Reader] = {**ARRAYS, **{end: reader for own in OF_MODALITY.values() for end, reader in own.items()}}
"""All of them."""


def endings(form: Form | None) -> tuple[str, ...]:
    """Return the endings of files that hold clips of a form; of all there are, where it is not known."""
    return tuple(READERS) if form is None else (*ARRAYS, *OF_MODALITY[form.modality])


def reader_of(path: Path) -> Reader:
    """Return the reader for a file.

    Raises: InputError for an ending that none reads.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise InputError(f"{path}: got suffix {suffix or 'none'!r}, expected one of {', '.join(READERS)}")
    return READERS[suffix]


def count(path: Path, form: Form | None = None) -> int | None:
    """Return the number of clips of a batch file, or None for one clip and for a file that cannot be read.

    The latter fails when its turn comes, and holds up nothing.
    Raises: MissingPackage for what reads such files.
    """
    try:
        return reader_of(path).count(path, form)
    except MissingPackage:
        raise
    except Exception:
        return None


def read(path: Path, form: Form | None = None) -> Contents:
    """Return what a file holds.

    Raises: InputError, one line, whatever is wrong with it; MissingPackage for what reads such files.
    """
    reader = reader_of(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}, expected a file with clips")
    try:
        return reader.read(path, form)
    except MissingPackage:
        raise
    except Exception as error:
        # A broken file can fail in any way its format's library knows; all mean the same.
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from error
