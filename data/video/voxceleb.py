"""VoxCeleb1: faces of people who are interviewed, tracked, every sixth frame of 25 a second."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from diffsda.data.problems import Problems
from diffsda.data.video.found import About, Download, Found, Order, folders_in, locate
from diffsda.data.video.pairs import read_pairs
from diffsda.data.video.parting import at_random
from diffsda.data.video.plain_pickle import read_pickle
from diffsda.errors import InputError

ABOUT = About(
    name="voxceleb",
    title="VoxCeleb1",
    frames=10,
    size=256,
    rate=Fraction(25, 6),
    layout="VoxCeleb/unzippedIntervalFaces/data/<speaker>/1.6/<video>/<clip>/ with JPEG frames",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html ('cropped face images')",
    licence="Creative Commons Attribution 4.0 for the data set; the videos are of those who put them on YouTube",
    citation="Nagrani, Chung, Zisserman: VoxCeleb, a large-scale speaker identification dataset, Interspeech 2017",
    whole={"clips": 153_516, "identity": 1251},
)
TEST_SPEAKERS = (
    *("Eartha_Kitt", "Ed_Westwick", "Eddie_Griffin", "Eddie_Izzard", "Eddie_Kaye_Thomas", "Eddie_McClintock"),
    *("Edgar_Wright", "Eduardo_Noriega", "Edward_Asner", "Efren_Ramirez", "Elaine_Cassidy", "Elaine_Hendrix"),
    *("Eleanor_Tomlinson", "Eli_Roth", "Eli_Wallach", "Elisabeth_Moss", "Elle_Fanning", "Ellen_Burstyn"),
    *("Ellen_Wong", "Elodie_Yung", "Emile_Hirsch", "Emily_Atack", "Emraan_Hashmi", "Eoin_Macken", "Eric_Braeden"),
    *("Eric_Dane", "Eric_McCormack", "Eric_Roberts", "Erik_Estrada", "Erin_Andrews", "Ernest_Borgnine"),
    *("Ernie_Hudson", "Esai_Morales", "Estelle_Harris", "Eugene_Levy", "Eugenio_Derbez", "Eva_Green"),
    *("Eva_Longoria", "Evanna_Lynch", "Ezra_Miller"),
)
"""The 40 speakers of the verification split's test part, in the order of their numbers."""
FIRST_TEST_ID = 10_270
SHARE, SEED = 0.2, 42
"""Of a split by clips."""
_ID = re.compile(r"id(\d{5})")
_RATE = "1.6"
"""The folder between a speaker and the videos in the published archive: one of six frames."""


def read(
    root: Path,
    problems: Problems,
    *,
    by_clip: bool = False,
    as_published: bool = False,
    pairs: Path | None = None,
) -> Download:
    """Find the clips of VoxCeleb1 under a folder.

    Labels: ``identity``, the speaker's place among the sorted names.
    The 40 speakers of the verification split are for testing; ``by_clip`` draws 80/20 of all clips instead.
    as_published: number speakers and draw clips in the order of the file system (or of video.pkl, where the authors'
    code kept it), as their code does. By default in the order of names. Frames have fixed-width numbers: both agree.
    pairs: a list of test pairs; splits/vox1_pairs.csv under ``root`` if it is there.
    Raises: InputError if there is no VoxCeleb1, or video.pkl is no list of clips.
    """
    places = ("VoxCeleb/unzippedIntervalFaces", "unzippedIntervalFaces", "")
    top = locate(root, ABOUT, places, ("data",))
    order: Order = "disk" if as_published else "text"
    speakers = folders_in(top / "data", order)
    identities = {name: number for number, name in enumerate(dict.fromkeys(_name(s.name) for s in speakers))}
    owners: dict[str, Path] = {}
    clips: dict[str, tuple[Path, str]] = {}
    for speaker in speakers:
        name = _name(speaker.name)
        if owners.setdefault(name, speaker) != speaker:
            problems.add(speaker, f"is the same person as {owners[name].name}; it is left out")
            continue
        for clip in _clips(speaker, order):
            clips["/".join(clip.relative_to(top).parts)] = clip, name
    if not clips:
        raise InputError(f"{top / 'data'}: found no clips, expected {ABOUT.layout}")
    split = _split(top, clips, by_clip, as_published)
    frames: Order = "text" if as_published else "number"
    found = [
        Found(key, path, split[key], {"identity": identities[name]}, frames) for key, (path, name) in clips.items()
    ]
    table = pairs or root / "splits" / "vox1_pairs.csv"
    known = {clip.key: clip.split for clip in found}
    return Download(
        about=ABOUT,
        clips=found,
        label_names={"identity": tuple(identities)},
        pairs=read_pairs(table, ("path_A", "path_B"), str.strip, known, problems) if pairs or table.is_file() else (),
        options={"as_published": as_published, "split": "clips, 80/20" if by_clip else "speakers"},
        remarks=("clips are drawn one by one: the same people are on both sides",) if by_clip else (),
    )


def _clips(speaker: Path, order: Order) -> Iterator[Path]:
    videos = speaker / _RATE if (speaker / _RATE).is_dir() else speaker
    for video in folders_in(videos, order):
        # Numbers without leading zeros; their order is nobody's but the reader's.
        yield from folders_in(video, "number" if order == "text" else order)


def _name(folder: str) -> str:
    """Return a speaker's name; the numbers of the test speakers are known by name, the others' stay."""
    number = _ID.fullmatch(folder)
    place = int(number[1]) - FIRST_TEST_ID if number else -1
    return TEST_SPEAKERS[place] if 0 <= place < len(TEST_SPEAKERS) else folder


def _split(top: Path, clips: dict[str, tuple[Path, str]], by_clip: bool, as_published: bool) -> dict[str, str]:
    if not by_clip:
        return {key: "test" if name in TEST_SPEAKERS else "train" for key, (_, name) in clips.items()}
    kept = top / "video.pkl"
    order = _published_order(kept) if as_published and kept.is_file() else list(clips)
    drawn = at_random(order, SHARE, SEED)
    return {key: drawn.get(key, "train") for key in clips}


def _published_order(kept: Path) -> list[str]:
    """Return the keys of all clips in the order of the authors' video.pkl, tuples of path, speaker, video and clip."""
    held = read_pickle(kept)
    if not isinstance(held, list) or not all(isinstance(e, tuple) and e and isinstance(e[0], str) for e in held):
        raise InputError(
            f"{kept}: got a pickled {type(held).__name__}, expected a list of (path, speaker, video, clip)"
        )
    return ["data/" + path.rpartition("/data/")[2] for path, *_ in held]
