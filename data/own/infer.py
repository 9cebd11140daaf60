"""What a folder of files holds: videos, sounds, tables or arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diffsda.data import arrays
from diffsda.data.audio import waves
from diffsda.data.own import table_files
from diffsda.data.video import frames_folder, probe
from diffsda.errors import InputError

KINDS: dict[str, tuple[str, ...]] = {
    "videos": (*sorted(probe.SUFFIXES), *sorted(frames_folder.IMAGES)),
    "sounds": waves.SUFFIXES,
    "tables": table_files.SUFFIXES,
    "arrays": arrays.SUFFIXES,
}
"""What is found -> how its files end."""
OF_MODALITY = {"video": ("videos", "arrays"), "audio": ("sounds", "arrays"), "series": ("tables", "arrays")}


@dataclass(frozen=True)
class Found:
    """The files of one kind below a folder (or the one file given), in the order of their names."""

    kind: str
    root: Path
    paths: tuple[Path, ...]

    def name(self, path: Path) -> str:
        """Return what a file is called within the set: its path from the top, with / and without its ending."""
        return path.relative_to(self.root).with_suffix("").as_posix()


def look(source: Path, modality: str | None, tell: Callable[[str], None], *, without: Path | None = None) -> Found:
    """Find the files below a folder and decide what they are.

    modality: video, audio or series, where a folder holds several kinds. without: a folder to pass over.
    Raises: InputError if there is nothing there that can be used, or several kinds and nobody said which.
    """
    if source.is_file():
        root, files = source.parent, [source]
    elif source.is_dir():
        root, files = (
            source,
            sorted(path for path in source.rglob("*") if path.is_file() and _seen(path, source, without)),
        )
    else:
        raise InputError(f"{source}: no such folder or file, expected your videos, sounds or tables")
    by_kind = {kind: [p for p in files if p.suffix.lower() in suffixes] for kind, suffixes in KINDS.items()}
    held = {kind: paths for kind, paths in by_kind.items() if paths}
    if modality is not None:
        held = {kind: paths for kind, paths in held.items() if kind in OF_MODALITY[modality]}
    if not held:
        what = "files" if modality is None else f"{' or '.join(OF_MODALITY[modality])} (--modality {modality})"
        endings = ", ".join(ending for kind in KINDS for ending in KINDS[kind][:3])
        raise InputError(f"{source}: got {_endings(files)}, expected {what} ending in {endings} or the like")
    if len(held) > 1:
        counts = ", ".join(f"{len(paths)} {kind}" for kind, paths in held.items())
        raise InputError(f"{source}: got {counts}, expected one kind; say which with --modality or give its folder")
    kind, paths = next(iter(held.items()))
    others = [path for path in files if path not in set(paths)]
    if others:
        tell(f"passed over: {_endings(others)}")
    tell(f"found {kind}: {len(paths)} {'file' if len(paths) == 1 else 'files'}")
    return Found(kind, root, tuple(paths))


def _seen(path: Path, root: Path, without: Path | None) -> bool:
    if without is not None and path.resolve().is_relative_to(without.resolve()):
        return False
    return not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)


def _endings(files: list[Path]) -> str:
    counts = Counter(path.suffix.lower() or "without an ending" for path in files)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common(6)) or "nothing"
