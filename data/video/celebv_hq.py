"""CelebV-HQ: faces of celebrities in short clips, with 83 marks of appearance, action and emotion."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from diffsda.data.problems import Problems
from diffsda.data.video.found import About, Download, Found, locate, names_in
from diffsda.data.video.pairs import read_pairs
from diffsda.data.video.parting import at_random, by_lists
from diffsda.data.video.plain_pickle import read_names
from diffsda.errors import InputError

ABOUT = About(
    name="celebv_hq",
    title="CelebV-HQ",
    frames=10,
    size=256,
    rate=Fraction(25),
    layout="CelebV-HQ/ with celebvhq_info.json and 35666/<clip>.mp4 (or 512_face_crop/<clip>.mp4)",
    homepage="https://celebv-hq.github.io/",
    licence="for research that is not commercial; not to be passed on",
    citation="Zhu, Wu, Zhu, Jiang, Tang, Zhang, Liu, Loy: CelebV-HQ, a large-scale video facial attributes dataset, "
    "ECCV 2022",
    whole={"clips": 35_666},
)
INFO = "celebvhq_info.json"
WHOLE, CROPPED = "35666", "512_face_crop"
EMOTIONS = ("neutral", "happy", "sadness", "anger", "fear", "surprise", "contempt", "disgust")
"""In the authors' order."""
SHARE, SEED = 0.2, 42
_NAME = re.compile(r"[\w-][\w.-]{0,200}")


def read(root: Path, problems: Problems, *, as_published: bool = False, pairs: Path | None = None) -> Download:
    """Find the clips of CelebV-HQ under a folder.

    Clips are those of 512_face_crop, or of 35666 where there are no crops. Labels: ``emotion`` (the one of the clip; -1
    where there are several), ``emotion_<word>``, ``appearance_<word>`` and ``action_<word>``, each 0 or 1.
    The split is that of train_split.pkl and test_split.pkl, or drawn 80/20 from the clips in the order of the info
    file. Clips in filtered_clips*.pkl are left out.
    as_published: changes nothing about what is found; see ``face_crop``.
    pairs: a list of test pairs; splits/celebv_pairs.csv under ``root`` if it is there.
    Raises: InputError if there is no CelebV-HQ, or its info file or a list is broken.
    """
    top = locate(root, ABOUT, ("CelebV-HQ", ""), (INFO,))
    videos = next((top / name for name in (CROPPED, WHOLE) if (top / name).is_dir()), None)
    if videos is None:
        raise InputError(f"{top}: found neither {CROPPED}/ nor {WHOLE}/, expected {ABOUT.layout}; {ABOUT.homepage}")
    info, words = _info(top / INFO, problems)
    labels = {clip: held for clip, about in info.items() if (held := _labels(top / INFO, clip, about, words, problems))}
    split, how = _split(top, list(info), problems)
    used = [clip for clip in info if clip in split and clip in labels]
    there = set(names_in(videos))
    found = [Found(clip, videos / f"{clip}.mp4", split[clip], labels[clip]) for clip in used if f"{clip}.mp4" in there]
    table = pairs or root / "splits" / "celebv_pairs.csv"
    known = {clip.key: clip.split for clip in found}
    return Download(
        about=ABOUT,
        clips=found,
        label_names={"emotion": EMOTIONS},
        pairs=read_pairs(table, ("filename_A", "filename_B"), _key, known, problems)
        if pairs or table.is_file()
        else (),
        absent=[f"{clip}.mp4" for clip in used if f"{clip}.mp4" not in there],
        options={"as_published": as_published, "split": how, "videos": videos.name},
        remarks=("clips are drawn one by one: one of a YouTube video may be on both sides",) if "drawn" in how else (),
    )


def _key(name: str) -> str:
    return name.strip().removesuffix(".mp4")


def _info(path: Path, problems: Problems) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Read the info file: what is said of each clip, and the words for appearance and action."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held: dict[str, Any] = {}
        for name, value in pairs:
            if name in held:
                problems.add(path, f"names {name!r} a second time; the first counts")
            held.setdefault(name, value)
        return held

    try:
        plain = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); get it again from {ABOUT.homepage}") from None
    clips = plain.get("clips") if isinstance(plain, dict) else None
    if not isinstance(clips, dict):
        raise InputError(f"{path}: has no table 'clips', expected one entry a clip; get it again from {ABOUT.homepage}")
    # The set's own description writes the name both ways.
    about = plain.get("meta_info") or plain.get("mete_info") or {}
    words = {kind: _words(path, about, kind) for kind in ("appearance", "action")}
    kept = {}
    for clip, said in clips.items():
        if _NAME.fullmatch(clip):
            kept[clip] = said
        else:
            problems.add(path, f"clip {clip!r} has a name that is no file's; it is left out")
    return kept, words


def _words(path: Path, about: Any, kind: str) -> list[str]:
    words = about.get(f"{kind}_mapping") if isinstance(about, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{path}: has no list meta_info.{kind}_mapping; get it again from {ABOUT.homepage}")
    return [word.strip().lower().replace(" ", "_") for word in words]


def _labels(
    path: Path, clip: str, about: Any, words: Mapping[str, list[str]], problems: Problems
) -> dict[str, int] | None:
    """Return the labels of a clip; None, and a problem, where they are not as they should be."""
    try:
        said = about["attributes"]
        labels: dict[str, int] = {}
        for kind, names in words.items():
            marks = said[kind]
            if len(marks) != len(names) or any(mark not in (0, 1) for mark in marks):
                raise ValueError(f"has {len(marks)} marks of {kind}, expected {len(names)} of 0 or 1")
            labels |= {f"{kind}_{name}": int(mark) for name, mark in zip(names, marks, strict=True)}
        return labels | _emotions(said["emotion"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else str(error)
        problems.add(path, f"clip {clip!r} {what}; it is left out")
        return None


def _emotions(said: Mapping[str, Any]) -> dict[str, int]:
    """Return a clip's emotion and marks for all of them; a clip may have one after the other."""
    held = {part["emotion"] for part in said["labels"]} if said["sep_flag"] else {said["labels"]}
    strange = sorted(str(word) for word in held - set(EMOTIONS))
    if strange or not held:
        raise ValueError(f"has emotion {', '.join(strange) or 'none'}, expected some of {', '.join(EMOTIONS)}")
    only = EMOTIONS.index(next(iter(held))) if len(held) == 1 else -1
    return {"emotion": only, **{f"emotion_{word}": int(word in held) for word in EMOTIONS}}


def _split(top: Path, clips: list[str], problems: Problems) -> tuple[dict[str, str], str]:
    """Return the split of every clip that is used, and in words how it came about."""
    lists = top / "train_split.pkl", top / "test_split.pkl"
    gone = [path for path in lists if not path.is_file()]
    for path in gone if len(gone) == 1 else []:
        problems.add(path, "is missing, though the other list is there; a split is drawn instead")
    if gone:
        unwanted = _filtered(top / "filtered_clips.pkl")
        return at_random([clip for clip in clips if clip not in unwanted], SHARE, SEED), "drawn, 80/20"
    split = by_lists([f"{clip}.mp4" for clip in clips], *lists, problems)
    filtered = {
        "train": _filtered(top / "filtered_clips_new.pkl"),
        "test": _filtered(top / "filtered_clips_new_test.pkl"),
    }
    parted = {_key(name): part for name, part in split.items()}
    return {clip: part for clip, part in parted.items() if clip not in filtered[part]}, "lists"


def _filtered(path: Path) -> set[str]:
    """Return the clips that a list leaves out, with or without .mp4 in it; none without a list."""
    return {_key(name) for name in read_names(path)} if path.is_file() else set()
