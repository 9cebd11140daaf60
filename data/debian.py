"""Debian packages as a source of data: fetched and unpacked into a folder, nothing installed, no root needed."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote

from diffsda.errors import DiffSDAError, InputError, SaveError

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_OFFER = re.compile(r"^'[^']*' (?P<file>\S+\.deb) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$", re.MULTILINE)
"""What apt would download, as --print-uris says it."""
_ELSEWHERE = "get its .deb from packages.debian.org and pass the folder it lies in as --root"


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A package's files in a folder."""

    tree: Path
    """What is / on a system that has the package installed."""
    package: str
    version: str | None = None
    sha256: str | None = None
    """Of the .deb file; like the version None where an unpacked tree was given."""


@dataclass(frozen=True)
class _Offer:
    file: str
    size: int
    sha256: str


def fetch(
    package: str, folder: Path, *, root: Path | None = None, tell: Callable[[str], None] = lambda words: None
) -> Unpacked:
    """Return a package's files, unpacked below ``folder``, where its .deb file stays too.

    root: instead of apt, a folder with the .deb file, or with the unpacked tree (itself, or in a folder of the
    package's name). What is downloaded or unpacked already is not touched again; killed, the same call goes on.
    Raises: InputError if there is no apt, no index, no such package, or ``root`` holds nothing of the kind;
    DiffSDAError if it cannot be downloaded or the file is damaged.
    """
    if not _NAME.fullmatch(package):
        raise InputError(f"package: got {package!r}, expected the name of a Debian package")
    if root is None:
        return _unpacked(package, _downloaded(package, folder, tell), folder, tell)
    if not root.is_dir():
        raise InputError(f"--root: {root} is no folder, expected one with {package}'s .deb file or its unpacked tree")
    debs = sorted(root.glob(f"{package}_*.deb"))
    if len(debs) > 1:
        raise InputError(f"--root: {root} holds {', '.join(deb.name for deb in debs)}, expected one version only")
    if debs:
        return _unpacked(package, debs[0], folder, tell)
    return Unpacked(tree=root / package if (root / package).is_dir() else root, package=package)


def _downloaded(package: str, folder: Path, tell: Callable[[str], None]) -> Path:
    """Return the .deb file, downloaded unless it is there."""
    offer = _offer(package)
    folder.mkdir(parents=True, exist_ok=True)
    deb = folder / offer.file
    if deb.is_file() and deb.stat().st_size == offer.size and _sha256(deb) == offer.sha256:
        return deb
    tell(f"{package}: downloading {offer.size / 1e6:.1f} MB")
    done = _apt("download", package, folder=folder)
    if done.returncode or not deb.is_file():
        raise DiffSDAError(
            f"{package}: apt-get could not download it ({_trouble(done.stderr)}); is there a network? The same command "
            f"goes on; or {_ELSEWHERE}"
        )
    if _sha256(deb) != offer.sha256:
        raise DiffSDAError(f"{deb}: is not what apt's index promises (SHA-256); remove it and try again")
    return deb


def _offer(package: str) -> _Offer:
    """Ask apt what it would download.

    Raises: InputError if it would not, with what to do about it.
    """
    done = _apt("--print-uris", "download", package)
    found = _OFFER.search(done.stdout)
    if found:
        return _Offer(found["file"], int(found["size"]), found["sha256"])
    if not done.returncode:
        raise DiffSDAError(f"{package}: apt-get names no file with a SHA-256 for it; {_ELSEWHERE}")
    if "Unable to locate" not in done.stderr:
        raise DiffSDAError(f"{package}: apt-get failed ({_trouble(done.stderr)})")
    indexes = _apt("indextargets", "--format", "$(FILENAME)", "Created-By: Packages").stdout.split()
    if not any(Path(index).is_file() for index in indexes):
        raise InputError(
            f"{package}: apt has no index of packages yet; run `apt-get update` (as root), or {_ELSEWHERE}"
        )
    raise InputError(
        f"{package}: apt's index has no such package; run `apt-get update` (as root) if it is old, or {_ELSEWHERE}"
    )


def _apt(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("apt-get")
    if program is None:
        raise InputError(f"apt-get: not found, expected a Debian or Ubuntu system; elsewhere, {_ELSEWHERE}")
    # In English, as its messages are read.
    env = {**os.environ, "LC_ALL": "C"}
    return subprocess.run([program, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def _trouble(said: str) -> str:
    lines = [line.removeprefix("E: ") for line in said.splitlines() if line.startswith("E: ")]
    return " ".join((lines or said.split("\n"))[0].split()) or "without a word"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpacked(package: str, deb: Path, folder: Path, tell: Callable[[str], None]) -> Unpacked:
    version, tree = unquote(deb.name.split("_")[1].removesuffix(".deb")), folder / deb.stem
    if not tree.is_dir():
        tell(f"{package}: unpacking {deb.name}")
        folder.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a folder of the final name is one that is complete.
        part = folder / f".{secrets.token_hex(8)}.part"
        try:
            _extract(deb, part)
            part.rename(tree)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Unpacked(tree=tree, package=package, version=version, sha256=_sha256(deb))


def _extract(deb: Path, into: Path) -> None:
    """Write a package's plain files; links, devices and names that lead out of the folder are left out."""
    try:
        with _contents(deb) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isreg() or name.is_absolute() or ".." in name.parts:
                    continue
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                held = archive.extractfile(member)
                assert held is not None
                with (into / name).open("wb") as file:
                    shutil.copyfileobj(held, file)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, OSError, EOFError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise SaveError(f"{into.parent}: no space is left to unpack {deb.name}") from error
        raise DiffSDAError(
            f"{deb}: cannot be unpacked ({error}); truncated or damaged? Remove it and try again"
        ) from error
    if not into.is_dir():
        raise DiffSDAError(f"{deb}: holds no files, expected a package of data")


@contextmanager
def _contents(deb: Path) -> Iterator[tarfile.TarFile]:
    """Open the archive of a package's files: through dpkg-deb, and where that is not, by hand."""
    program = shutil.which("dpkg-deb")
    if program is None:
        with deb.open("rb") as file:
            member = _data_member(file)
            with tarfile.open(fileobj=member, mode="r|*") as archive:
                yield archive
            while member.read(1 << 20):
                pass
        return
    with subprocess.Popen(
        [program, "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            yield archive
        process.stdout.read()
        said = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise ValueError(" ".join(said.split()) or f"dpkg-deb leaves with {process.returncode}")


def _data_member(file: IO[bytes]) -> Any:
    """Return the member data.tar.* of an ar archive, as a file.

    Raises: ValueError if there is none, or it is compressed as Python cannot read it.
    """
    if file.read(8) != b"!<arch>\n":
        raise ValueError("no ar archive, as a .deb file is")
    while len(head := file.read(60)) == 60:
        name, size = head[:16].decode("ascii", "replace").strip().rstrip("/"), int(head[48:58])
        if name.startswith("data.tar"):
            if not name.endswith((".tar", ".xz", ".gz", ".bz2")):
                raise ValueError(f"holds {name}, which takes dpkg-deb to read; install dpkg")
            return _Slice(file, size)
        file.seek(size + size % 2, os.SEEK_CUR)
    raise ValueError("holds no data.tar")


class _Slice:
    """So many bytes of a file, from where it stands."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, count: int) -> bytes:
        held = self._file.read(min(count, self._left))
        if self._left and not held:
            raise EOFError("ends too early")
        self._left -= len(held)
        return held
