"""Readers that were trained before are read from disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from diffsda.errors import CheckpointError, InputError
from diffsda.evaluate.judges.examples import Examples
from diffsda.evaluate.judges.sequence import SequenceJudge
from diffsda.evaluate.judges.sequence_file import load, save
from diffsda.evaluate.judges.training import Settings


def trained(
    folder: Path | None,
    held: dict[str, Any],
    examples: Examples,
    *,
    seed: int = 0,
    device: str = "cpu",
    settings: Mapping[str, Any],
) -> SequenceJudge:
    """Return the judge of these examples: the one in ``held`` or in the folder, or one that is trained now and kept.

    A file that is damaged counts as not there.
    Raises: InputError for a setting that there is not.
    """
    known = [field.name for field in fields(Settings)]
    if unknown := [name for name in settings if name not in known]:
        raise InputError(f"reader: got the setting {unknown[0]!r}, expected some of {', '.join(known)}")
    chosen = Settings(**settings)
    key = examples.key(seed, chosen)
    if key not in held:
        held[key] = _from_disk(folder, key, device) or _new(folder, key, examples, seed, device, chosen)
    return held[key]


def _from_disk(folder: Path | None, key: str, device: str) -> SequenceJudge | None:
    if folder is None or not (path := folder / f"{key}.safetensors").is_file():
        return None
    try:
        judge = load(path, device)
    except CheckpointError:
        return None
    return judge if judge.key == key else None


def _new(
    folder: Path | None, key: str, examples: Examples, seed: int, device: str, settings: Settings
) -> SequenceJudge:
    judge = SequenceJudge.learn(examples, seed, device, settings)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        save(judge, folder / f"{key}.safetensors")
    return judge
