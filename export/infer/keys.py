"""What follows from a clip's key: its seed, and a file name that no key can abuse."""

from __future__ import annotations

import hashlib
import re

SHOWN = 40
"""Characters of a key that its file name shows."""


def seed_of(key: str, seed: int) -> int:
    """Return the seed, from 0 to 2^63, that a clip draws from: the same for the same key and seed, wherever it is."""
    return int.from_bytes(hashlib.sha256(b"%d\n" % seed + _bytes(key)).digest()[:8], "big") >> 1


def file_name(key: str, suffix: str = ".npz") -> str:
    """Return a file name for a key: the plain characters of its beginning and 128 bits of its digest.

    Any text is a key: slashes, dots, other scripts, any length. Keys that differ at all, if only in case, have names
    that differ on file systems that know no case either.
    """
    shown = re.sub(r"[^A-Za-z0-9]+", "-", key)[:SHOWN].strip("-")
    digest = hashlib.sha256(_bytes(key)).hexdigest()[:32]
    return f"{shown}-{digest}{suffix}" if shown else f"{digest}{suffix}"


def _bytes(key: str) -> bytes:
    # Half a surrogate pair is text in JSON and in file names, though not in UTF-8.
    return key.encode("utf-8", "surrogatepass")
