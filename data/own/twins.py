"""Files that are there twice: what holds the same bytes is used once, so that it is never on two sides."""

from __future__ import annotations

import hashlib
from pathlib import Path

from diffsda.data.problems import Problems


class Twins:
    """The files of a set that are used, by their bytes."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self.root, self.problems = root, problems
        self._names: dict[str, str] = {}

    def again(self, path: Path) -> bool:
        """Tell whether a file holds the bytes of one that is used; if so, that is noted."""
        name = self._names.get(_digest(path))
        if name is not None:
            self.problems.add(path, f"holds the same bytes as {name}; left out")
        return name is not None

    def use(self, path: Path) -> None:
        """Note that a file is used: another with its bytes is left out from now on."""
        digest = _digest(path)
        if digest:
            self._names[digest] = path.relative_to(self.root).as_posix()


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file; nothing for one that cannot be read, which is for its reader to say."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
