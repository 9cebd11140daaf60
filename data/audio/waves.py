"""Sound files of any common kind as arrays."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.audio import sphere
from diffsda.data.check import Array
from diffsda.errors import InputError, MissingPackage

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".sph", ".aiff", ".au")
"""How names of sound files end, in lower case; what a file is, its content says."""


def read_wave(path: str | os.PathLike[str]) -> tuple[Array, int]:
    """Read a sound file; return samples (T,) float32 in [-1, 1] and the rate in Hz.

    Channels are averaged. WAV, FLAC, OGG and others go through soundfile; NIST SPHERE is read here. A FLAC of 16 bits
    is held against the digest of its samples that it carries.
    Raises: InputError, one line, if the file is missing, empty, truncated, damaged, of no known kind or holds a sample
    that is not finite; MissingPackage without soundfile.
    """
    samples, rate = _read(Path(path))
    mono = samples[0] if len(samples) == 1 else samples.mean(0, dtype=np.float32)
    if not mono.size:
        raise InputError(f"{path}: holds no samples")
    bad = ~np.isfinite(mono)
    if bad.any():
        raise InputError(f"{path}: got sample {int(bad.argmax())} that is not finite, {int(bad.sum())} in all")
    return np.ascontiguousarray(mono), rate


def _read(path: Path) -> tuple[Array, int]:
    try:
        with path.open("rb") as file:
            head = file.read(64)
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not head:
        raise InputError(f"{path}: is empty, expected a sound file")
    if head.startswith(sphere.MAGIC):
        return sphere.read_sphere(path)
    _refuse_cut_riff(path, head, size)
    sound = soundfile()
    try:
        whole = head.startswith(b"fLaC") and sound.info(path).subtype == "PCM_16"
        samples, rate = sound.read(path, dtype="int16" if whole else "float32", always_2d=True)
    except (RuntimeError, OSError, ValueError) as error:
        cause = " ".join(str(error).split()).removeprefix(f"Error opening {str(path)!r}: ")[:160]
        raise InputError(f"{path}: cannot be read as sound ({cause}); truncated or not such a file?") from None
    if whole:
        _check_flac(path, head, samples)
        samples = samples / np.float32(32768)
    return np.asarray(samples.T, np.float32), int(rate)


def soundfile() -> Any:
    """Return the package that decodes sound.

    Raises: MissingPackage with the pip line.
    """
    try:
        import soundfile as package
    except (ImportError, OSError) as error:
        raise MissingPackage(f"reading sound needs soundfile ({error}): pip install 'diffsda[audio]'") from None
    return package


def _refuse_cut_riff(path: Path, head: bytes, size: int) -> None:
    """Refuse a WAV that is shorter than it says: its decoder would return what is left without a word."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return
    says = int.from_bytes(head[4:8], "little") + 8
    # Writers that stream leave 0 or the largest number there.
    if 44 < says < 2**31 - 1 and says > size + 1:
        raise InputError(f"{path}: got {size} bytes, expected {says} as its header says; truncated?")


def _check_flac(path: Path, head: bytes, samples: Array) -> None:
    # The digest ends the STREAMINFO block, which every FLAC begins with.
    said = head[26:42]
    if said.strip(b"\0") and hashlib.md5(samples.astype("<i2").tobytes(), usedforsecurity=False).digest() != said:
        raise InputError(f"{path}: got samples other than the file's own digest says; damaged?")
