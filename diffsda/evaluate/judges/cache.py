"""What judges said, kept on disk: nothing is judged twice, and a run that is killed goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import zipfile
from pathlib import Path

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.evaluate.judges.kinds import Array, Floats

MOST = 2 << 30
"""Bytes kept on disk for one judge."""
SHARDS = 64
"""Files above which they are put together in one."""
_DIGEST = 32


def digest(array: Array, *about: object) -> bytes:
    """Return the SHA-256 of an array's type, shape and bytes, and of what else is said about it."""
    head = repr((array.dtype.str, array.shape, *about)).encode()
    total = hashlib.sha256(len(head).to_bytes(8, "little") + head)
    total.update(np.ascontiguousarray(array).data)
    return total.digest()


class Store:
    """Rows of numbers by digest, of one judge.

    A folder of .npz shards, each written whole or not at all; a process adds shards of its own, so several can share
    a folder. A shard that cannot be read (cut off, another's) counts as not there. Above ``most`` bytes the oldest
    shards go.
    """

    def __init__(self, folder: Path | None, most: int = MOST) -> None:
        self.folder, self.most = folder, most
        self._rows: dict[bytes, Floats] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._read(folder)

    @classmethod
    def of(cls, cache: Path | None, name: str, version: str, most: int = MOST) -> Store:
        """Return the store of a judge: a folder of its own for every name and version, or memory alone."""
        if cache is None:
            return cls(None)
        short = hashlib.sha256(f"{name}\0{version}".encode()).hexdigest()[:12]
        return cls(cache / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{short}", most)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: bytes) -> Floats | None:
        """Return the row kept under a digest, or None."""
        return self._rows.get(key)

    def add(self, keys: list[bytes], rows: Floats) -> None:
        """Keep rows (n, ...) under their digests, on disk before this returns."""
        rows = np.asarray(rows, np.float64)
        self._rows.update(zip(keys, rows, strict=True))
        if self.folder is not None and keys:
            self._write(self.folder, keys, rows)
            self._bound(self.folder)

    def _write(self, folder: Path, keys: list[bytes], rows: Floats) -> None:
        table = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), _DIGEST)
        path = folder / f"{secrets.token_hex(8)}.npz"
        atomic_write(path, lambda file: np.savez(file, keys=table, rows=rows))

    def _read(self, folder: Path) -> None:
        shards = sorted(folder.glob("*.npz"))
        whole: list[Path] = []
        for shard in shards:
            held = _load(shard)
            if held is not None:
                self._rows.update(held)
                whole.append(shard)
        if len(whole) > SHARDS and self._rows:
            self._merge(folder, whole)

    def _merge(self, folder: Path, shards: list[Path]) -> None:
        """Write what was read as one shard a shape; another process that does the same only does it twice."""
        by_shape: dict[tuple[int, ...], list[bytes]] = {}
        for key, row in self._rows.items():
            by_shape.setdefault(row.shape, []).append(key)
        for keys in by_shape.values():
            self._write(folder, keys, np.stack([self._rows[key] for key in keys]))
        for shard in shards:
            shard.unlink(missing_ok=True)

    def _bound(self, folder: Path) -> None:
        """Take the oldest shards away until the rest is within bounds."""
        held: list[tuple[float, int, Path]] = []
        for shard in folder.glob("*.npz"):
            with contextlib.suppress(OSError):  # another process took it away
                about = shard.stat()
                held.append((about.st_mtime, about.st_size, shard))
        held.sort()
        total = sum(size for _, size, _ in held)
        for _, size, shard in held[:-1]:
            if total <= self.most:
                return
            shard.unlink(missing_ok=True)
            total -= size


def _load(shard: Path) -> dict[bytes, Floats] | None:
    """Read a shard; None for one that is not whole."""
    try:
        with np.load(shard, allow_pickle=False) as held:
            keys, rows = held["keys"], held["rows"]
    # TypeError: an array instead of an archive of them.
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return None
    if rows.ndim < 1 or keys.dtype != np.uint8 or keys.shape != (len(rows), _DIGEST) or rows.dtype != np.float64:
        return None
    return {key.tobytes(): row for key, row in zip(keys, rows, strict=True)}
