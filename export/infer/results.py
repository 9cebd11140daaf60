"""What a folder of results says of itself: what made it, which clips are done, which failed."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diffsda.atomic import atomic_write
from diffsda.errors import InputError, SaveError
from diffsda.export.infer.job import Item
from diffsda.export.infer.keys import file_name

ABOUT, RESULTS, FAILED, CLIPS = "infer.json", "results.jsonl", "failed.jsonl", "clips"
BLOCK = 65536


class Results:
    """A folder of results. Processes that work on it at once take turns by a lock on a file.

    ``infer.json`` keeps what determines the bytes of results, ``clips/`` holds a file for each clip, ``results.jsonl``
    a line for each that is there, ``failed.jsonl`` one for each that could not be made. Lines are appended whole; one
    cut short, when a process or a machine died, is as if it had not been written.
    """

    def __init__(self, folder: Path, about: dict[str, Any], suffix: str = ".npz") -> None:
        """Open a folder, or make it; ``suffix`` is what names of results end in.

        Raises: InputError for a folder of other results, of anything else, or one that cannot be written.
        """
        self.folder, self.suffix = folder, suffix
        try:
            folder.mkdir(parents=True, exist_ok=True)
            strange = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
            if strange and not (folder / ABOUT).exists():
                raise InputError(
                    f"{folder}: is a folder with other files ({sorted(strange)[0]!r}), expected a new one, or one that "
                    f"holds results ({ABOUT})"
                )
            with self.locked():
                if (folder / ABOUT).exists():
                    _compare(folder, about)
                else:
                    text = json.dumps(about, indent=1) + "\n"
                    atomic_write(folder / ABOUT, lambda file: file.write(text.encode()))
                (folder / CLIPS).mkdir(exist_ok=True)
            if not os.access(folder / CLIPS, os.W_OK | os.X_OK):
                raise InputError(f"{folder / CLIPS}: may not be written to, expected a folder for results")
        except SaveError:
            raise
        except OSError as error:
            raise InputError(f"{folder}: cannot be a folder for results ({error.strerror})") from None

    @contextlib.contextmanager
    def locked(self, name: str = ".lock", *, wait: bool = True, shared: bool = False) -> Iterator[None]:
        """Hold a lock, alone or ``shared``, which ends with the process that holds it at the latest.

        Raises: InputError if another process holds it and ``wait`` is false.
        """
        try:
            import fcntl
        except ImportError:  # Not on Windows: there one process at a time must do.
            yield
            return
        number = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise InputError(
                    f"{self.folder}: another process is at work on the same clips, expected to be the only one; wait "
                    "for it, or part the job between processes with --shard"
                ) from None
            yield
        finally:
            os.close(number)

    @contextlib.contextmanager
    def at_work(self, part: int, parts: int) -> Iterator[None]:
        """Be the one at work on part ``part`` of ``parts``. The first to come sweeps up what a killed process left.

        Raises: InputError if another process is at work on it.
        """
        with self.locked(f".lock-{part}-of-{parts}", wait=False), contextlib.ExitStack() as stack:
            with self.locked():
                # Files half written are someone's who is at work, or nobody's if nobody else is.
                with contextlib.suppress(InputError), self.locked(".lock-at-work", wait=False):
                    for path in (self.folder / CLIPS).glob(".*.part"):
                        path.unlink(missing_ok=True)
                stack.enter_context(self.locked(".lock-at-work", shared=True))
            yield

    def done(self) -> dict[str, dict[str, Any]]:
        """Return the results that are there, line and file: their lines by key."""
        there = {path.name for path in (self.folder / CLIPS).iterdir()}
        lines = _read(self.folder / RESULTS)
        return {line["key"]: line for line in lines if Path(str(line.get("file"))).name in there}

    def file(self, key: str) -> Path:
        """Return where the result of a key is, or is to be."""
        return self.folder / CLIPS / file_name(key, self.suffix)

    def stale(self, item: Item, line: dict[str, Any]) -> bool:
        """Whether a file is another than the one its result, of this line, was made from: by size and date."""
        now = stamps(item)
        if "sources" in line or now is None:
            return line.get("sources") != now
        try:
            made = self.file(item.key).stat().st_mtime_ns
        except OSError:
            return True
        return any(date > made for _, date in now)

    def failed(self) -> dict[str, str]:
        """Return the reasons of clips that failed when they were last tried, by key."""
        return {line["key"]: str(line.get("reason")) for line in _read(self.folder / FAILED)}

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add a line to a file, after whole lines only.

        Raises: SaveError if there is no room; the file then ends with the line before.
        """
        path, line = self.folder / name, (json.dumps(record) + "\n").encode()
        with self.locked():
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                end = _end_of_lines(number)
                os.ftruncate(number, end)
                try:
                    written = 0
                    while written < len(line):
                        written += os.pwrite(number, line[written:], end + written)
                except OSError:
                    os.ftruncate(number, end)
                    raise
            except OSError as error:
                raise SaveError(f"{path}: could not be written ({error.strerror}); what was there is kept") from error
            finally:
                os.close(number)

    def settle(self) -> None:
        """Leave one line for each clip that is there, its last, and one for each that failed and was not made since."""
        with self.locked():
            done = self.done()
            for path, wanted in ((self.folder / RESULTS, True), (self.folder / FAILED, False)):
                lines = _read(path)
                last = {line["key"]: line for line in lines if (line["key"] in done) == wanted}
                if len(last) != len(lines):
                    _rewrite(path, last.values())


def _rewrite(path: Path, records: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    atomic_write(path, lambda file: file.write(text.encode()))


def _compare(folder: Path, about: dict[str, Any]) -> None:
    try:
        held = json.loads((folder / ABOUT).read_bytes())
        assert isinstance(held, dict)
    except (ValueError, AssertionError, RecursionError):
        raise InputError(f"{folder / ABOUT}: is damaged, expected what made these results; use a new folder") from None
    for name in (*about, *held):
        if held.get(name) != about.get(name):
            got, expected = (_shown(one.get(name)) for one in (about, held))
            raise InputError(
                f"{name}: got {got}, expected {expected} as in {folder / ABOUT}: results of both would be mixed; use "
                "a new folder"
            )


def _shown(value: Any) -> str:
    """Return a value as a person reads it: the beginning of a digest is enough to tell two apart."""
    return repr(value[:12] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of lines; a line that is none counts as not written."""
    records = []
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if line.endswith(b"\n") and isinstance(record, dict) and isinstance(record.get("key"), str):
                    records.append(record)
    return records


def _end_of_lines(number: int) -> int:
    """Return where the last whole line of a file ends."""
    at = os.fstat(number).st_size
    while at > 0:
        start = max(0, at - BLOCK) if os.pread(number, 1, at - 1) != b"\n" else at - 1
        found = os.pread(number, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def stamps(item: Item) -> list[list[int]] | None:
    """Return size and date, in nanoseconds, of an item's files; None if one is not there: reading will tell."""
    try:
        found = [path.stat() for path in item.paths]
    except OSError:
        return None
    return [[status.st_size, status.st_mtime_ns] for status in found]
