"""Whose recordings a prepared folder was made from, and on what terms: the packages' own words beside the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffsda.atomic import atomic_write
from diffsda.data.audio.speech_sources import PACKAGES
from diffsda.data.debian import Unpacked
from diffsda.data.problems import Problems
from diffsda.errors import InputError

FOLDER = "licences"
ATTRIBUTION = "ATTRIBUTION.txt"
CHANGES = (
    "What was changed: the recordings were resampled to 8 kHz, trimmed of silence, brought to one level, turned into\n"
    "log mel spectra and cut into windows. Prompts that are no speech, and other characters of the game, were left\n"
    "out. The packages are under different licences: who passes clips on does so under the licence of the package\n"
    "they are from (label 'package'), and with its file from this folder.\n"
)


def write_licences(out: Path, trees: Mapping[str, Unpacked], problems: Problems) -> None:
    """Write OUT/licences: each package's copyright file as it is; who made what, on what terms; what was changed.

    A package without such a file is a problem. Raises: SaveError.
    """
    folder = out / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder ({error.strerror or error})") from None
    lines = ["Spoken prompts and dialogue, from Debian packages:", ""]
    for package in PACKAGES:
        unpacked = trees[package.name]
        path = unpacked.tree / "usr/share/doc" / package.name / "copyright"
        try:
            words = path.read_bytes()
        except OSError as error:
            problems.add(path, f"cannot be read ({error.strerror or error}); the terms of {package.name} are in it")
            continue
        _write(folder / f"{package.name}.txt", words)
        version = f" {unpacked.version}" if unpacked.version else ""
        lines.append(f"{package.name}{version}: recordings by {package.by}; {package.licence}; see {package.name}.txt")
    _write(folder / ATTRIBUTION, "\n".join([*lines, "", CHANGES]).encode())


def _write(path: Path, words: bytes) -> None:
    atomic_write(path, lambda file: file.write(words))
