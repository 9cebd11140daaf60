"""diffsda prepare: data sets, one file a kind, each imported only when it is asked for."""

from __future__ import annotations

import difflib
import importlib

from diffsda.errors import InputError

KINDS = {
    "own": ("own", "a folder of your videos, sounds or tables: looked over, split, with a recipe to start from"),
    "video": ("video", "a folder of videos: probed, indexed, re-encoded on request"),
    "latents": ("latents", "a prepared video set through a first stage, into a memory-mapped cache"),
    "sprites": ("sprites", "walking, fighting characters rendered from a Debian package, with exact swap targets"),
    "speech": ("speech", "spoken prompts and dialogue from Debian packages, with held-out words"),
    "mug": ("faces", "MUG facial expressions"),
    "taichi": ("faces", "TaiChi-HD"),
    "voxceleb": ("faces", "VoxCeleb1 face tracks"),
    "celebv_hq": ("faces", "CelebV-HQ"),
    "timit": ("recordings", "TIMIT"),
    "librispeech": ("recordings", "LibriSpeech"),
    "physionet": ("recordings", "PhysioNet Challenge 2012"),
    "airq": ("recordings", "Beijing multi-site air quality"),
    "etth1": ("recordings", "ETTh1 electricity transformers"),
}
"""What can be prepared -> the module here that does it, and a word on it."""


def run(argv: list[str]) -> int:
    """Prepare a data set and print its folder."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    what = argv[0]
    if what not in KINDS:
        near = difflib.get_close_matches(what, KINDS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"prepare: got {what!r}, expected one of {', '.join(KINDS)}{hint}")
    module = importlib.import_module(f"diffsda.cli.prepare.{KINDS[what][0]}")
    return int(module.run(argv if module.__name__.endswith(("faces", "recordings")) else argv[1:]))


def usage() -> str:
    """Return the list of what can be prepared."""
    width = max(map(len, KINDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in KINDS.items()]
    return "\n".join(["usage: diffsda prepare WHAT ...      (diffsda prepare WHAT --help for its options)", "", *lines])
