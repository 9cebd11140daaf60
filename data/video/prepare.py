"""A folder of videos made ready to be trained on: every file decoded once, indexed, re-encoded on request."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffsda.data.prepared import NAME, SPLITS, Dataset
from diffsda.data.problems import Problems
from diffsda.data.stream import Watch, unwatched
from diffsda.data.video.dealing import deal
from diffsda.data.video.encode import Encoding, recode
from diffsda.data.video.entry import Entry, write_entries
from diffsda.data.video.frames_folder import Ways, film_folder
from diffsda.data.video.layout import Item, find
from diffsda.data.video.ledger import Ledger
from diffsda.data.video.libav import libav
from diffsda.data.video.probe import probe
from diffsda.data.video.pyav import cores
from diffsda.data.video.workers import spread
from diffsda.errors import InputError

RECORD = "work.jsonl"
"""What is known of each file; with it, the same command goes on, or has little to do."""
VIDEOS = "videos"
"""Where files that are written anew go."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What dataset.json says of a set besides what is found out."""

    name: str
    frames: int = 10
    """Frames a clip is taken with; shorter videos are passed over."""
    size: int | None = None
    """Height and width of a frame in training; None: the shortest side of all."""
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What is held out of a set that has no splits, by drawing."""

    val: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        deal({}, self.val, self.test, self.seed)  # refuses shares that leave nothing, before any work


def prepare_video(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    about: About,
    *,
    encoding: Encoding | None = None,
    shares: Shares | None = None,
    jobs: int | None = None,
    problems: Problems | None = None,
    tell: Callable[[str], None] = lambda words: None,
    watch: Watch = unwatched,
) -> Dataset:
    """Prepare all videos below a folder (see ``layout.find``, ``prepare_items``).

    shares: used where no sub-folders tell the splits.
    """
    problems = Problems() if problems is None else problems
    folder, out = Path(folder), Path(out)
    items, label_names = find(folder, problems, without=out)
    about = dataclasses.replace(about, label_names=label_names, source=about.source or str(folder))
    return prepare_items(
        items, out, about, encoding=encoding, shares=shares, jobs=jobs, problems=problems, tell=tell, watch=watch
    )


def prepare_items(
    items: Sequence[Item],
    out: Path,
    about: About,
    *,
    encoding: Encoding | None = None,
    shares: Shares | None = None,
    jobs: int | None = None,
    problems: Problems | None = None,
    tell: Callable[[str], None] = lambda words: None,
    watch: Watch = unwatched,
) -> Dataset:
    """Decode every video once, write it anew where asked, and leave a prepared folder of kind ``video``.

    encoding: how files are written anew; None keeps them where they are, and only pictures are written (as mjpeg).
    jobs: processes; None takes all cores, 0 works in this one.
    Files that are damaged, too short or cannot be read go into ``problems``, the rest goes on. Killed, the same call
    goes on where it was.
    Raises: InputError if nothing is left to train on, or ``out`` holds something else; MissingPackage without PyAV;
    SaveError if the disk is full.
    """
    libav()
    problems = Problems() if problems is None else problems
    _claim(out)
    found = _examined(items, out, about, encoding, cores() if jobs is None else jobs, problems, watch)
    problems.write(out)
    splits = _split({item.key: _entry(item, found[item.key]) for item in items if item.key in found}, items, shares)
    if not splits["train"]:
        raise InputError(f"{out}: no video is left to train on ({len(problems)} problems), expected one at least")
    for split, entries in splits.items():
        if entries:
            write_entries(out / f"{split}.jsonl", entries)
        else:
            (out / f"{split}.jsonl").unlink(missing_ok=True)
    for subject, words in notes(found.values()).items():
        tell(f"{subject}: {words}")
    made = Dataset(
        kind="video",
        name=about.name,
        modality="video",
        frames=about.frames,
        channels=3,
        size=about.size or min(min(one["width"], one["height"]) for one in found.values()),
        splits={split: len(part) for split, part in splits.items() if part},
        label_names=dict(about.label_names),
        options={
            "encoding": None if encoding is None else dataclasses.asdict(encoding),
            "shares": None if all(item.split for item in items) else dataclasses.asdict(shares or Shares()),
            **about.options,
        },
        source=about.source,
        licence=about.licence,
        citation=about.citation,
    )
    made.write(out)
    return made


def notes(found: Collection[Mapping[str, Any]]) -> dict[str, str]:
    """Return what a user should know of the videos of a set, by subject; ``found``: what was found out of each."""
    count = len(found)
    said = {"codecs": _counted(Counter(one["codec"] for one in found))}
    sizes = Counter(f"{one['width']}x{one['height']}" for one in found)
    if len(sizes) > 1:
        said["sizes"] = f"{_counted(sizes)}: frames are scaled and cut to one square as they are read"
    if uneven := sum(one["uneven"] for one in found):
        said["timing"] = f"{uneven} of {count} videos show frames for unequal times: frames are counted, not timed"
    if strange := sum(not one["bt601"] for one in found):
        said["colours"] = (
            f"{strange} of {count} videos say that their colours are not BT.601; loaders take them for that, so they "
            "are a little off: --recode converts them"
        )
    if turned := sum(one["turned"] != 0 for one in found):
        said["turned"] = f"{turned} of {count} videos are to be turned when shown; loaders do not: --recode does"
    same = Counter(one["sha256"] for one in found)
    if twins := count - len(same):
        said["twins"] = f"{twins} of {count} videos have the bytes of another; those that are dealt keep together"
    return said


def _counted(counts: Counter[str]) -> str:
    most = ", ".join(f"{count} {what}" for what, count in counts.most_common(4))
    return most if len(counts) <= 4 else f"{most} and {len(counts) - 4} others"


def _claim(out: Path) -> None:
    """Make the folder, unfinished from now on, unless it holds something else."""
    if (out / NAME).is_file():
        held = Dataset.read(out)
        if held.kind != "video":
            raise InputError(
                f"{out}: holds {held.name}, prepared as {held.kind}; expected a new folder, or one of videos"
            )
    elif out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise InputError(f"{out}: holds something else already, expected a new folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / NAME).unlink(missing_ok=True)


def _examined(
    items: Sequence[Item],
    out: Path,
    about: About,
    encoding: Encoding | None,
    jobs: int,
    problems: Problems,
    watch: Watch,
) -> dict[str, dict[str, Any]]:
    """Return what was found out of every good video, by key, in the order of the items."""
    found: dict[str, dict[str, Any]] = {}
    how = None if encoding is None else dataclasses.asdict(encoding)
    with Ledger(out / RECORD, {"encoding": how}) as ledger:
        calls = []
        for item in items:
            known, target = ledger.find(item), _target(out, item, encoding)
            if known is not None and _still_good(known, item, target, about.frames):
                found[item.key] = known
            else:
                calls.append((item, target, encoding, about.frames))
        words = "videos looked over" if encoding is None else "videos written anew"
        for number, outcome in watch(spread(examine, calls, jobs), len(calls), words):
            if isinstance(outcome, Exception):
                outcome = {"problem": "crashes the decoder"}
            item = calls[number][0]
            found[item.key] = outcome
            ledger.add(item, outcome)
    good = (item.key for item in items if _usable(item, found[item.key], about.frames, problems))
    return {key: found[key] for key in good}


def examine(item: Item, target: Path | None, encoding: Encoding | None, least: int) -> dict[str, Any]:
    """Decode a video, write it anew if there is a target, and say what it is or what is wrong with it."""
    remarks: list[str] = []
    path, seen = item.place, None
    try:
        if not item.pictures:
            seen = probe(path)
        if target is not None and (seen is None or seen.frames >= least):
            path, before = target, seen
            _write(item, target, encoding, remarks)
            seen = probe(target)
            if before is not None and before.frames != seen.frames:
                return {"problem": f"re-encoded, {seen.frames} of {before.frames} frames are left"}
    except InputError as error:
        return {"problem": str(error).removeprefix(f"{item.place}: "), "remarks": remarks}
    assert seen is not None
    return {"path": str(path), "remarks": remarks, **dataclasses.asdict(seen)}


def _write(item: Item, target: Path, encoding: Encoding | None, remarks: list[str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not item.pictures:
        recode(item.place, target, encoding or Encoding())
        return
    ways = Ways(fewest=1) if encoding is None else Ways(fewest=1, size=encoding.size, codec=encoding.codec)
    film_folder(item.place, target, ways, lambda path, words: remarks.append(f"{path.name}: {words}"))


def _target(out: Path, item: Item, encoding: Encoding | None) -> Path | None:
    """Return where a video is written anew; None where it stays as it is."""
    if encoding is None and not item.pictures:
        return None
    return out.resolve() / VIDEOS / f"{item.key}.mp4"


def _still_good(known: dict[str, Any], item: Item, target: Path | None, least: int) -> bool:
    """Tell whether a finding needs no second look: its file is there, and was written if it is long enough."""
    if "problem" in known:
        return True
    path = Path(known["path"])
    written = target is None or path == target or known["frames"] < least
    return written and (item.place if path == item.place else path).is_file()


def _usable(item: Item, found: Mapping[str, Any], least: int, problems: Problems) -> bool:
    for remark in found.get("remarks", ()):
        problems.add(item.place, remark)
    trouble = found.get("problem")
    if trouble is None and found["frames"] < least:
        trouble = f"has {found['frames']} frames, expected at least {least}, a clip's"
    if trouble is not None:
        problems.add(item.place, trouble)
    return trouble is None


def _entry(item: Item, found: Mapping[str, Any]) -> Entry:
    held = {name: found[name] for name in ("frames", "fps", "width", "height", "codec", "sha256")}
    return Entry(path=Path(found["path"]), labels=dict(item.labels), **held)


def _split(entries: Mapping[str, Entry], items: Sequence[Item], shares: Shares | None) -> dict[str, list[Entry]]:
    shares = shares or Shares()
    told = {item.key: item.split for item in items if item.split is not None}
    drawn = {key: entry.sha256 for key, entry in entries.items() if key not in told}
    split_of = told | deal(drawn, shares.val, shares.test, shares.seed)
    splits: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for key, entry in entries.items():
        splits[split_of[key]].append(entry)
    return splits
