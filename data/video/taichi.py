"""TaiChi-HD: people doing Tai Chi, cut out of videos."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from diffsda.data.problems import Problems
from diffsda.data.video.found import About, Download, Found, Order, locate, names_in
from diffsda.data.video.frames_folder import IMAGES
from diffsda.data.video.pairs import read_pairs
from diffsda.data.video.parting import at_random, by_lists
from diffsda.data.video.pictures import CLIPS
from diffsda.errors import InputError

ABOUT = About(
    name="taichi",
    title="TaiChi-HD",
    frames=10,
    size=64,
    rate=Fraction(30),
    layout="TAICHI/taichi-png/, with or without train/ and test/ in it, of folders of PNG frames, GIF or video files, "
    "or images with the frames side by side",
    homepage="https://github.com/AliaksandrSiarohin/first-order-model (data/taichi-loading)",
    licence="the list of clips comes with MIT-licensed code; the videos are of those who put them on YouTube",
    citation="Siarohin, Lathuiliere, Tulyakov, Ricci, Sebe: First order motion model for image animation, NeurIPS 2019",
    whole={"clips": 3081},
)
NEW_SHARE, OLD_SHARE, SEED = 0.1, 0.2, 0
"""Test parts of a new split, and of a folder without train/ and test/; and the seed both are drawn with."""
PLACES = ("TAICHI/taichi-png", "taichi-png", "taichi", "")
PAIRS = "celebv_pairs.csv"
"""The name under which the authors' code keeps the pairs of this set too."""


def read(
    root: Path,
    problems: Problems,
    *,
    newsplit: bool = False,
    lists: str | None = None,
    as_published: bool = False,
    pairs: Path | None = None,
) -> Download:
    """Find the clips of TaiChi-HD under a folder.

    Labels: ``video``, the YouTube video a clip is cut out of, where the names say it (``video#start#end``).
    newsplit: draw train and test (90/10) from all clips, instead of taking the folders train/ and test/; or take them
    from split_*_train.pkl and split_*_test.pkl if they are there.
    lists: what the star stands for, where there are several such pairs of files.
    as_published: put clips in the order of the file system before a split is drawn, and leave the frames of training
    clips in it, as the authors' code does. By default both are sorted.
    pairs: a list of test pairs; celebv_pairs.csv in the set's folder if it is there.
    Raises: InputError if there is no TaiChi-HD, or the lists that are named are not there.
    """
    folder = _folder(root)
    clips = _clips(folder, "disk" if as_published else "number", problems)
    if not clips:
        raise InputError(f"{folder}: found no clips, expected {ABOUT.layout}")
    split, how = _split(folder, clips, newsplit, lists, problems)
    videos = {name: number for number, name in enumerate(sorted({_video(key) for key in clips} - {""}))}
    found = [
        Found(
            key,
            path,
            split[key],
            {"video": videos[name]} if (name := _video(key)) else {},
            _frame_order(split[key], as_published),
        )
        for key, path in clips.items()
        if key in split
    ]
    table = pairs or folder / PAIRS
    known = {clip.key: clip.split for clip in found}
    return Download(
        about=ABOUT,
        clips=found,
        label_names={"video": tuple(videos)} if videos else {},
        pairs=read_pairs(table, ("filename_A", "filename_B"), _key, known, problems)
        if pairs or table.is_file()
        else (),
        options={"as_published": as_published, "split": how},
        remarks=("clips are drawn one by one: two of one YouTube video may be on both sides",)
        if "drawn" in how
        else (),
    )


def _folder(root: Path) -> Path:
    """Return the folder with train/ and test/, or with the clips themselves."""
    try:
        return locate(root, ABOUT, PLACES, ("train", "test"))
    except InputError:
        whole = (root / place for place in PLACES)
        found = next((f for f in whole if f.is_dir() and any(_is_clip(f / name) for name in names_in(f))), None)
        if found is None:
            raise
        return found


def _is_clip(path: Path) -> bool:
    return bool(names_in(path, suffixes=IMAGES)) if path.is_dir() else path.suffix.lower() in CLIPS


def _clips(folder: Path, order: Order, problems: Problems) -> dict[str, Path]:
    """Return all clips by key: train/NAME, test/NAME, or NAME where the set is not parted."""
    clips: dict[str, Path] = {}
    first: dict[str, str] = {}
    for part in [part for part in ("train", "test") if (folder / part).is_dir()] or [""]:
        for path in _in_folder(folder / part, order, problems):
            key = f"{part}/{path.name}" if part else path.name
            if first.setdefault(path.name, key) != key:
                problems.add(path, f"is also there as {first[path.name]}; it is left out")
            else:
                clips[key] = path
    return clips


def _in_folder(folder: Path, order: Order, problems: Problems) -> Iterator[Path]:
    for name in names_in(folder, order):
        path = folder / name
        if path.is_dir() or path.suffix.lower() in CLIPS:
            yield path
        elif path.suffix.lower() not in (".pkl", ".npz", ".csv", ".txt"):
            problems.add(path, f"is no clip, expected a folder of images or a file ending in {', '.join(CLIPS)}")


def _split(
    folder: Path, clips: dict[str, Path], newsplit: bool, lists: str | None, problems: Problems
) -> tuple[dict[str, str], str]:
    """Return the split of every clip that is used, and in words how it came about."""
    if not newsplit and lists is None:
        if all((folder / part).is_dir() for part in ("train", "test")):
            return {key: key.partition("/")[0] for key in clips}, "folders"
        return at_random(list(clips), OLD_SHARE, SEED), "drawn, 80/20"
    files = _lists(folder, lists, problems)
    if files is None:
        return at_random(list(clips), NEW_SHARE, SEED), "drawn, 90/10"
    by_name = {path.name: key for key, path in clips.items()}
    parts = by_lists(list(by_name), *files, problems)
    return {by_name[name]: part for name, part in parts.items()}, f"lists {files[0].name}, {files[1].name}"


def _lists(folder: Path, lists: str | None, problems: Problems) -> tuple[Path, Path] | None:
    """Return the two lists of a split, if they are there."""
    middles = [name[len("split_") : -len("_train.pkl")] for name in names_in(folder) if _is_list(name)]
    if lists is None and len(middles) > 1:
        raise InputError(f"--lists: found {', '.join(middles)}, expected one; say which of these splits to take")
    middle = lists if lists is not None else (middles[0] if middles else None)
    if middle is None:
        return None
    files = folder / f"split_{middle}_train.pkl", folder / f"split_{middle}_test.pkl"
    gone = [path for path in files if not path.is_file()]
    if gone and lists is not None:
        raise InputError(f"--lists: got {lists}, but {gone[0]} is missing; leave the option out to draw a split")
    for path in gone:
        problems.add(path, "is missing; a split is drawn instead")
    return None if gone else files


def _is_list(name: str) -> bool:
    return name.startswith("split_") and name.endswith("_train.pkl")


def _video(key: str) -> str:
    """Return the name of the YouTube video in a clip's name, or nothing."""
    name, hash_sign, _ = key.rpartition("/")[2].partition("#")
    return name if hash_sign else ""


def _frame_order(split: str, as_published: bool) -> Order:
    if not as_published:
        return "number"
    return "disk" if split == "train" else "text"


def _key(name: str) -> str:
    return name.strip().removeprefix("./")
