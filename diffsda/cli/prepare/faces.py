"""diffsda prepare mug, taichi, voxceleb, celebv_hq: the paper's video sets, from where they were downloaded to."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diffsda.cli.options import parse
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.data.problems import Problems
    from diffsda.data.video.face_crop import Crop
    from diffsda.data.video.found import Download, Found


@dataclass(frozen=True, kw_only=True)
class Options:
    """What all four sets can be told."""

    root: Path
    """Folder of the download."""
    out: Path | None = None
    """Folder to prepare; left out, datasets/NAME."""
    frames: int | None = None
    """Frames a clip must have; left out, the paper's."""
    size: int | None = None
    """Scale the shorter side down to this, which encodes everything; left out, images are kept as they are."""
    codec: Literal["mjpeg", "vp9", "png"] = "mjpeg"
    """Of what has to be encoded: mjpeg, vp9 (a fifth of the space, slower), or png (to the bit; PyAV's loader only)."""
    pairs: Path | None = None
    """CSV file of the test pairs to swap; left out, the one in splits/ under the root, if it is there."""
    as_published: bool = False
    """Repeat what the authors' code does by accident: orders of the file system, numbers sorted as text."""
    jobs: int | None = None
    """Processes; left out, all cores; 0 does all in this one."""
    overwrite: bool = False
    """Prepare a folder again that was prepared with other options."""
    json: bool = False
    """Print a summary as JSON instead of the folder."""


@dataclass(frozen=True, kw_only=True)
class WithFaces(Options):
    """What sets that faces are cut out of can be told besides."""

    boxes: Path | None = None
    """Where the faces are: JSON lines {"clip": name, "boxes": [[left, top, right, bottom] or null, ...]}."""
    detector: Literal["dlib", "opencv"] | None = None
    """Find faces with this package and cut them out; with neither boxes nor a detector frames stay whole."""


@dataclass(frozen=True, kw_only=True)
class Mug(WithFaces):
    """Prepare MUG: mug_pre2_train/ and mug_pre2_test/, or the database's own subjects3/."""

    crop_size: int = 64
    """Height and width of faces that are cut out."""


@dataclass(frozen=True, kw_only=True)
class Taichi(Options):
    """Prepare TaiChi-HD: TAICHI/taichi-png/{train,test}/."""

    newsplit: bool = False
    """Draw train and test anew from all clips, 90/10, or take them from split_*_{train,test}.pkl."""
    lists: str | None = None
    """What the star in these names is, where there are several."""
    strip: int | None = None
    """Width of a frame in images with frames side by side; left out, they are square."""


@dataclass(frozen=True, kw_only=True)
class Voxceleb(Options):
    """Prepare VoxCeleb1: VoxCeleb/unzippedIntervalFaces/data/."""

    by_clip: bool = False
    """Draw 80/20 of all clips, instead of testing on the 40 speakers of the verification split."""


@dataclass(frozen=True, kw_only=True)
class CelebvHq(WithFaces):
    """Prepare CelebV-HQ: CelebV-HQ/ with celebvhq_info.json and 35666/."""

    codec: Literal["mjpeg", "vp9", "png"] = "vp9"
    """Of what has to be encoded: mjpeg, vp9 (a fifth of the space, slower), or png (to the bit; PyAV's loader only)."""
    crop_size: int = 256
    """Height and width of faces that are cut out."""


KINDS: dict[str, type[Options]] = {"mug": Mug, "taichi": Taichi, "voxceleb": Voxceleb, "celebv_hq": CelebvHq}


def run(argv: list[str]) -> int:
    """Prepare the set that the first word names, print its folder; return 1 if something was wrong with some files."""
    what, *rest = argv
    options = parse(KINDS[what], rest, f"prepare {what}", KINDS[what].__doc__ or "")
    from diffsda.cli.progress import counting
    from diffsda.data.problems import Problems
    from diffsda.data.video.gather import gather
    from diffsda.data.video.pyav import cores

    if options.jobs is not None and options.jobs < 0:
        raise InputError(f"--jobs: got {options.jobs}, expected 0 or more processes")
    out = options.out or Path("datasets") / what
    problems = Problems(_say)
    download = _read(what, options, problems)
    ways = _ways(options, download)
    download, crops = _faces(options, download, problems)
    with counting() as watch:
        summary = gather(
            download,
            out,
            ways,
            crops=crops,
            jobs=cores() if options.jobs is None else options.jobs,
            overwrite=options.overwrite,
            problems=problems,
            tell=_say,
            watch=watch,
        )
    print(json.dumps(summary) if options.json else out)
    if problems:
        _say(f"{len(problems)} problems, see {out / 'problems.jsonl'}; the rest is prepared")
    return 1 if problems else 0


def _say(words: str) -> None:
    # Names in files of strangers end up in messages: they must not steer the terminal.
    print("".join(c if c.isprintable() else "?" for c in words), file=sys.stderr, flush=True)


def _read(what: str, options: Options, problems: Problems) -> Download:
    from diffsda.data.video import celebv_hq, mug, taichi, voxceleb

    told: dict[str, Any] = {"as_published": options.as_published, "pairs": options.pairs}
    if isinstance(options, Taichi):
        return taichi.read(options.root, problems, newsplit=options.newsplit, lists=options.lists, **told)
    if isinstance(options, Voxceleb):
        return voxceleb.read(options.root, problems, by_clip=options.by_clip, **told)
    return {"mug": mug, "celebv_hq": celebv_hq}[what].read(options.root, problems, **told)


def _ways(options: Options, download: Download) -> Any:
    from diffsda.data.video.frames_folder import Ways

    for name in ("frames", "size", "strip", "crop_size"):
        value = getattr(options, name, None)
        if value is not None and value < 2:
            raise InputError(f"--{name.replace('_', '-')}: got {value}, expected at least 2")
    return Ways(
        fewest=options.frames or download.about.frames,
        rate=download.about.rate,
        size=options.size,
        codec=options.codec,
        strip=getattr(options, "strip", None),
    )


def _faces(options: Options, download: Download, problems: Problems) -> tuple[Download, Callable[[Found], Crop | None]]:
    """Return how the faces of each clip are cut out (None where they are not), and the download that says so."""
    if not isinstance(options, Mug | CelebvHq) or download.options.get("videos") == "512_face_crop":
        return download, lambda clip: None
    from diffsda.data.video.face_crop import Crop, Rule, detector, read_boxes

    if options.boxes is not None and options.detector is not None:
        raise InputError("--detector: got boxes as well, expected one of the two")
    if options.boxes is None and options.detector is None:
        whole = "faces are not cut out: frames stay whole; --detector finds them, --boxes takes them from a file"
        ready = download.options.get("layout") == "authors"
        return replace(download, remarks=download.remarks if ready else (*download.remarks, whole)), lambda clip: None
    still = isinstance(options, Mug)
    rule = Rule(
        extra=0 if still else 40, still=still, size=options.crop_size, as_published=options.as_published and not still
    )
    source = options.detector or f"boxes of {options.boxes}"
    said = replace(download, options={**download.options, "faces": {"found_by": source, **asdict(rule)}})
    if options.detector is not None:
        # Before hours of work: is it installed?
        detector(options.detector)
        return said, lambda clip: Crop(rule=rule, detector=options.detector)
    boxes = read_boxes(options.boxes, problems) if options.boxes is not None else {}
    return said, lambda clip: Crop(rule=rule, boxes=tuple(boxes.get(clip.key, ())))
