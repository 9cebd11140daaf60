"""A sequence judge is one safetensors file: weights, and what it reads as JSON in its metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import safetensors
import safetensors.torch
import torch

import diffsda
from diffsda.atomic import atomic_write
from diffsda.errors import CheckpointError
from diffsda.evaluate.judges.network import Form, SequenceNetwork
from diffsda.evaluate.judges.sequence import SequenceJudge
from diffsda.evaluate.judges.training import Settings
from diffsda.header import METADATA_KEY, compare, read_header

FORMAT = 1
KIND = "sequence judge"


def save(judge: SequenceJudge, path: str | Path) -> Path:
    """Write a judge as one file; the old one, if any, stays until the new one is complete.

    Raises: SaveError if it cannot be written.
    """
    path = Path(path)
    about = {
        "format": FORMAT,
        "kind": KIND,
        "form": asdict(judge.form),
        "factors": {name: list(classes) for name, classes in judge.factors.items()},
        "accuracy": _plain(judge.accuracy),
        "frame_accuracy": _plain(judge.frame_accuracy),
        "key": judge.key,
        "settings": asdict(judge.settings),
        "seed": judge.seed,
        "versions": {"diffsda": diffsda.__version__, "torch": str(torch.__version__)},
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in judge.network.state_dict().items()}
    data = safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(about)})
    atomic_write(path, lambda file: file.write(data))
    return path


def load(path: str | Path, device: str = "cpu") -> SequenceJudge:
    """Read a judge from its file.

    Raises: CheckpointError if the file is damaged, or holds something else.
    """
    path = Path(path)
    header = read_header(path)
    about = header.ours()
    if about is None or about.get("kind") != KIND or about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: got no sequence judge of format {FORMAT}, expected one saved by this program")
    try:
        plain = dict(about["form"])
        form = Form(**{**plain, "frame": tuple(plain["frame"]), "frame_labels": tuple(plain["frame_labels"])})
        factors = {str(name): tuple(map(str, classes)) for name, classes in about["factors"].items()}
        accuracy, single = _shares(about["accuracy"]), _shares(about["frame_accuracy"])
        settings, key, seed = Settings(**about["settings"]), str(about["key"]), int(about["seed"])
        if {name: len(classes) for name, classes in factors.items()} != form.classes:
            raise ValueError("names and numbers of classes differ")
        # Shapes are compared before anything is allocated.
        with torch.device("meta"):
            network = SequenceNetwork(form)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its description cannot be used ({error})") from None
    wanted = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    compare({k: shape for k, (_, shape) in header.tensors.items()}, wanted, str(path), "judge")
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    network.load_state_dict(tensors, assign=True)
    return SequenceJudge(network.to(device).eval(), form, factors, accuracy, single, key, settings, seed)


def _plain(shares: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in shares.items()}


def _shares(plain: Mapping[str, float | None]) -> dict[str, float]:
    return {str(name): math.nan if value is None else float(value) for name, value in plain.items()}
