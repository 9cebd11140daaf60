"""MUG facial expressions: 52 people, six emotions, posed before a camera that does not move."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from diffsda.data.problems import Problems
from diffsda.data.video.found import About, Download, Found, Order, Pair, folders_in, in_order, locate, names_in
from diffsda.data.video.pairs import Row, read_pairs
from diffsda.data.video.parting import within_groups
from diffsda.errors import InputError

ABOUT = About(
    name="mug",
    title="MUG",
    frames=15,
    size=64,
    rate=Fraction(19),
    layout="mug_pre2_train/ and mug_pre2_test/ (with MUG/subjects3/ beside them), or the database's own subjects3/",
    homepage="https://mug.ee.auth.gr/fed/",
    licence="by agreement with the Multimedia Understanding Group, for research that is not commercial",
    citation="Aifanti, Papachristou, Delopoulos: The MUG facial expression database, WIAMIS 2010",
    whole={"clips": 3429, "subject": 52},
)
EMOTIONS = ("anger", "disgust", "happiness", "fear", "sadness", "surprise")
"""In the order of the authors' folders 0 to 5."""
PARTS = {"train": "mug_pre2_train", "test": "mug_pre2_test"}
SHARE, SEED = 0.2, 0
"""Of the takes of a person and an emotion that are held out of the database's own layout, which has no split."""

# Positions, in the order in which the file system happened to list folders and clips, that the authors' code leaves
# out of the test part. Which clips they were on their disk is not known.
_DROPPED = frozenset(
    [32, 36, 52, 67, 76, 135, 143, 177, 194, 213, 236, 338, 371, 404, 429, 434, 436, 437, 439, 440, 441, 447, 449]
    + [461, 462, 464, 466, 483, 484, 489, 491, 494, 501, 510, 514, 517, 518, 519, 520, 542, 543, 550, 551, 557, 562]
    + [571, 573, 628, 630, 659, 660, 665, 685, 689, 691, 706, 708, 720, 721, 729, 745]
)
_NUMBER = re.compile(r"\d+")
_JPEG = (".jpg",)


def read(root: Path, problems: Problems, *, as_published: bool = False, pairs: Path | None = None) -> Download:
    """Find the clips of MUG under a folder.

    Labels: ``subject`` (the place of the number among the sorted names in subjects3), ``emotion``.
    as_published: frames in the order of their numbers as text, and 61 test clips left out by their position in the
    order of the file system, as the authors' code does. By default frames are in the order of their numbers and every
    clip of at least 15 frames is used.
    pairs: a list of test pairs; splits/mug_pairs.csv under ``root`` if it is there.
    Raises: InputError if there is no MUG, or ``as_published`` is asked of the database's own layout.
    """
    if all((root / part).is_dir() for part in PARTS.values()):
        return _of_the_authors(root, problems, as_published, pairs)
    if as_published:
        raise InputError(
            f"--as-published: found no {PARTS['train']} and {PARTS['test']} in {root}, the authors' own cut of MUG, "
            "which is not public; leave the option out"
        )
    return _of_the_database(root, problems)


def _of_the_authors(root: Path, problems: Problems, as_published: bool, pairs: Path | None) -> Download:
    """mug_pre2_{train,test}/<emotion 0..5>/<userNNN_takeMMM_KK>/*.jpg."""
    order: Order = "disk" if as_published else "number"
    places = [
        (split, folder, clip)
        for split, part in PARTS.items()
        for folder in folders_in(root / part, order)
        if _is_emotion(folder, problems)
        for clip in folders_in(folder, order)
    ]
    if as_published:
        places = _without_dropped(places)
    subjects, remark = _subjects(root, [clip.name for _, _, clip in places])
    clips = []
    for split, folder, clip in places:
        number = _NUMBER.search(clip.name)
        if number is None or number[0] not in subjects:
            problems.add(clip, "names nobody of subjects3, expected user<number>_take<number>_<number>; it is left out")
            continue
        labels = {"subject": subjects[number[0]], "emotion": int(folder.name)}
        key = f"{split}/{folder.name}/{clip.name}"
        clips.append(Found(key, clip, split, labels, "text" if as_published else "number"))
    table = pairs or root / "splits" / "mug_pairs.csv"
    return Download(
        about=ABOUT,
        clips=clips,
        label_names={"subject": tuple(subjects), "emotion": EMOTIONS},
        pairs=_pairs(table, clips, problems) if pairs or table.is_file() else (),
        options={"as_published": as_published, "layout": "authors"},
        remarks=(remark,) if remark else (),
    )


def _is_emotion(folder: Path, problems: Problems) -> bool:
    if folder.name in map(str, range(len(EMOTIONS))):
        return True
    problems.add(folder, "is no emotion, expected folders 0 to 5; it is left out")
    return False


def _without_dropped(places: list[tuple[str, Path, Path]]) -> list[tuple[str, Path, Path]]:
    """Leave out test clips by their position among those long enough to be counted."""
    counted = [p for p in places if p[0] == "test" and len(names_in(p[2], suffixes=_JPEG)) >= ABOUT.frames]
    dropped = {clip for position, (_, _, clip) in enumerate(counted) if position in _DROPPED}
    return [place for place in places if place[2] not in dropped]


def _subjects(root: Path, names: list[str]) -> tuple[dict[str, int], str]:
    """Return the label of each person by the number in the folder's name, and what is to be said about it."""
    for place in ("MUG/subjects3", "subjects3"):
        if (root / place).is_dir():
            held = sorted(folder.name for folder in folders_in(root / place))
            return {name: label for label, name in enumerate(held)}, ""
    found = {number[0] for name in names if (number := _NUMBER.search(name))}
    return (
        {number: label for label, number in enumerate(sorted(found))},
        "MUG/subjects3 is not there: people are numbered by the clips found, which agrees with the authors' numbers "
        f"only if all {ABOUT.whole['subject']} are there",
    )


def _pairs(path: Path, clips: list[Found], problems: Problems) -> list[Pair]:
    labels = {clip.key: clip.labels for clip in clips}

    def check(row: Row) -> str | None:
        for side in ("A", "B"):
            held = labels[_key(row[f"video_path_{side}"])]
            said = {"subject": row.get(f"subj_{side}", ""), "emotion": row.get(f"categ_{side}", "")}
            for name, value in said.items():
                if value and value != str(held[name]):
                    return f"{row[f'video_path_{side}']!r} has {name} {value}, expected {held[name]}"
        return None

    known = {clip.key: clip.split for clip in clips}
    return read_pairs(path, ("video_path_A", "video_path_B"), _key, known, problems, check)


def _key(name: str) -> str:
    """Return the key of a clip that a list names by its path, wherever on a disk that begins."""
    _, found, rest = name.partition(f"{PARTS['test']}/")
    return f"test/{rest}" if found else name


def _of_the_database(root: Path, problems: Problems) -> Download:
    """subjects3/<subject>/[<session>/]<emotion>/<take>/*.jpg; whole takes are clips, a fifth of them for testing."""
    folder = root if root.name == "subjects3" else locate(root, ABOUT, ("MUG", ""), ("subjects3",)) / "subjects3"
    takes = [(subject, *found) for subject in folders_in(folder) for found in _takes(subject)]
    if not takes:
        raise InputError(f"{folder}: found no takes, expected <subject>/<emotion>/take*/ with JPEG frames")
    subjects = in_order({subject.name for subject, _, _ in takes}, "text")
    splits = within_groups([(subject.name, emotion) for subject, emotion, _ in takes], SHARE, SEED)
    clips = [
        Found(
            "/".join(take.relative_to(folder).parts),
            take,
            split,
            {"subject": subjects.index(subject.name), "emotion": EMOTIONS.index(emotion)},
        )
        for (subject, emotion, take), split in zip(takes, splits, strict=True)
    ]
    return Download(
        # The paper counts the clips that its authors cut out of takes.
        about=replace(ABOUT, whole={"subject": ABOUT.whole["subject"]}),
        clips=clips,
        label_names={"subject": tuple(subjects), "emotion": EMOTIONS},
        options={"as_published": False, "layout": "database"},
        remarks=(
            f"the database has no split: of every person and emotion {SHARE:.0%} of the takes are held out for testing",
        ),
    )


def _takes(subject: Path) -> Iterator[tuple[str, Path]]:
    """Yield emotion and folder of each take; some people have a folder more, for the session."""
    for folder in folders_in(subject):
        emotions = [folder] if folder.name in EMOTIONS else [f for f in folders_in(folder) if f.name in EMOTIONS]
        for emotion in emotions:
            yield from ((emotion.name, take) for take in folders_in(emotion))
