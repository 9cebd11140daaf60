"""Read the released code's weights of SPYL: sizes from the tensors, the rest from settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsda.baselines import keys
from diffsda.baselines.frame_size import PUBLISHED_SIZE
from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.settings import PUBLISHED, WEIGHTS, SPYLSettings
from diffsda.errors import CheckpointError, InputError
from diffsda.foreign import read_tensors
from diffsda.header import compare


def pairs() -> keys.Pairs:
    """Return (theirs, ours) of every tensor, or of modules whose tensors go by the same names in both."""
    outer = [
        (f"d_lstm.{name}_l0{theirs}", f"sequence.recurrent.{ours}_lstm.{name}_l0")
        for theirs, ours in (("", "forward"), ("_reverse", "backward"))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    return [
        *keys.frame_encoder(),
        *keys.transposed_decoder(),
        *keys.lstm_prior("d"),
        *outer,
        *keys.gaussian_head("s", "sequence.static_head"),
        ("d_rnn", "sequence.rnn"),
        *keys.gaussian_head("d", "sequence.dynamic_head"),
    ]


def to_theirs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of a ``SPYL`` for video by the released code's names."""
    return keys.rename(tensors, keys.back(pairs()))


def load_authors(
    path: str | Path, settings: str | SPYLSettings | None = None, *, as_published: bool | None = None
) -> SPYL:
    """Load a state dict of the released code (.pth or .safetensors), ready to use.

    Sizes come from the tensors. What a state dict cannot hold (weights of the loss, say) comes from ``settings``,
    published ones by name or your own, else is assumed and listed in ``provenance['assumed']``. ``as_published``, where
    given, replaces the settings' own; it changes the loss and new dynamic codes only.
    Raises: CheckpointError if the file cannot be read or its tensors make no SPYL; InputError for unknown settings.
    """
    base = _settings(settings)
    tensors = {k.removeprefix("module."): v for k, v in read_tensors(path).items()}
    return from_tensors(tensors, path, base, as_published=as_published)


def from_tensors(
    tensors: Mapping[str, Tensor],
    path: str | Path,
    settings: Any = None,
    *,
    system: str = "spyl",
    as_published: bool | None = None,
) -> SPYL:
    """Return SPYL with these weights; ``path`` is for errors.

    Raises: as ``load_authors``; InputError for another ``system``.
    """
    if system != "spyl":
        raise InputError(f"system: got {system!r}, expected spyl, all that is read here")
    base = _settings(settings)
    try:
        found = (base or SPYLSettings()).replace(**_sizes(tensors))
    except (KeyError, IndexError, InputError) as error:
        raise CheckpointError(
            f"{path}: got tensors that are not a SPYL model (lacks {error}), "
            "expected keys such as d_rnn.weight_ih_l0 and encoder.c1.main.0.weight"
        ) from None
    with torch.device("meta"):
        model = SPYL(found if as_published is None else found.replace(as_published=as_published))
    wanted = {k: tuple(v.shape) for k, v in to_theirs(model.state_dict()).items()}
    compare({k: tuple(v.shape) for k, v in tensors.items() if k in wanted}, wanted, str(path))
    for key in wanted:
        if tensors[key].is_floating_point() == key.endswith("num_batches_tracked"):
            raise CheckpointError(f"{path}: {key} holds {tensors[key].dtype}, expected another kind of number")
    held = {k: v.float() if v.is_floating_point() else v.long() for k, v in tensors.items() if k in wanted}
    model.load_state_dict(keys.rename(held, pairs()), assign=True)
    extra = [k for k in tensors if k not in wanted]
    assumed = [f"{name} {getattr(found, name):g}" for name in WEIGHTS] + [f"hardness {found.hardness}"]
    model.provenance = {
        "source": "authors' state dict",
        "assumed": [] if base is not None else assumed,
        "dead": 0,
        "ignored": extra[:20],
        "ignored_count": len(extra),
    }
    return model.eval()


def _settings(given: Any) -> SPYLSettings | None:
    if given is None or isinstance(given, SPYLSettings):
        return given
    if not isinstance(given, str):
        raise InputError(f"settings: got {type(given).__name__}, expected those of SPYL like the weights")
    if given not in PUBLISHED:
        raise InputError(f"settings: got {given!r}, expected one of {', '.join(PUBLISHED)}")
    return PUBLISHED[given]


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, int | str]:
    width, channels = tensors["encoder.c1.main.0.weight"].shape[:2]
    return {
        "kind": "video",
        "channels": channels,
        "size": PUBLISHED_SIZE,
        "width": width,
        "features": tensors["encoder.c5.0.weight"].shape[0],
        "hidden": tensors["d_rnn.weight_hh_l0"].shape[0],
        "static": tensors["s_mean.weight"].shape[0],
        "dynamic": tensors["d_mean.weight"].shape[0],
    }
