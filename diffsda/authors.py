"""Read the authors' weights: sizes from the tensors, what tensors cannot say from a preset or assumed."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda import check
from diffsda.authors_keys import entries, to_ours
from diffsda.authors_systems import OURS, network_and_settings, system_of
from diffsda.errors import CheckpointError, InputError
from diffsda.firststage.whiten import Whitening
from diffsda.foreign import read_tensors
from diffsda.header import compare
from diffsda.model import DiffSDA
from diffsda.presets import preset as find_preset
from diffsda.recipe import Recipe
from diffsda.systems import build, presets, recipe_from_dict

_DEAD = re.compile(r"\.crossattn\.")
_LARGEST_STATS = 2**26
_MODALITY = {"dbse-audio": "audio", "dbse-series": "series"}


def load_authors(
    path: str | Path,
    preset: Any = None,
    stats: str | Path | dict[str, Any] | Whitening | None = None,
    *,
    system: str | None = None,
    shared_static: bool | None = None,
    as_published: bool | None = None,
) -> Any:
    """Load a state dict of the authors' code (.pth or .safetensors) of DiffSDA, DBSE or SPYL, ready to use.

    The keys tell whose weights they are; ``system`` says it where they do not (``diffsda``, ``dbse-video``,
    ``dbse-audio``, ``dbse-series`` or ``spyl``). Sizes are inferred from the tensors. What a state dict cannot hold
    (P_mean, steps, weights of a loss, windows) comes from ``preset``, a name or a recipe or, for other systems than
    DiffSDA, their settings; else it is assumed and listed in ``provenance['assumed']``. Tensors that the released code
    never uses, and those the model does not know, are left out and counted in the provenance.

    For DiffSDA alone: ``stats`` are the latent statistics, an npz with keys mean and std or variance, the same as a
    dictionary, or a ``Whitening``; ``shared_static`` says whether a clip has one static factor.
    For the others alone: ``as_published`` None computes what the weights were trained to compute, without chance;
    False mends all slips of the released code, True none.
    Source: the authors' checkpoints (flat state dicts).
    Raises: CheckpointError if the file cannot be trusted or read, is of no known system, or tensors are missing or of
    odd shapes (the first five differences are named); InputError for an unknown preset or system, or an option the
    system does not have.
    """
    tensors = {k.removeprefix("module."): v for k, v in read_tensors(path).items()}
    found = system_of(tensors, path, system)
    if found == OURS:
        if as_published is not None:
            raise InputError(f"as_published: got {as_published} for weights of diffsda, expected none: it has no slips")
        return from_tensors(tensors, path, preset, stats, shared_static=shared_static)
    for name, given in (("stats", stats), ("shared_static", shared_static)):
        if given is not None:
            raise InputError(f"{name}: got them for weights of {found}, expected none: only diffsda has them")
    return _other_system(tensors, path, found, preset, as_published)


def _other_system(
    tensors: Mapping[str, Tensor], path: str | Path, system: str, preset: Any, as_published: bool | None
) -> Any:
    """Return another system's model with these weights.

    Source of its recipe: the preset, where it is one; else what the settings say, and defaults.
    """
    recipe: Any = dict(presets()).get(preset, preset) if isinstance(preset, str) else preset
    recipe = recipe if getattr(recipe, "system", None) == system else None
    network, settings = network_and_settings(tensors, path, system, recipe or preset, as_published)
    said = settings.to_dict()
    clips = {"channels": said["channels"]} | ({"size": said["size"]} if network.unit_range else {})
    if recipe is None:
        clips |= {"modality": _MODALITY.get(system, "video")}
        optim = {name: said[name] for name in ("lr", "batch", "epochs")}
        plain = {"system": system, "name": "imported", "clips": clips, "optim": optim, "settings": said}
        recipe = recipe_from_dict(plain)
    else:
        recipe = recipe.replace(clips=clips, settings=settings)
    with torch.device("meta"):
        model: Any = build(recipe)
    model.system = network
    model.provenance = network.provenance
    return model.eval()


def from_tensors(
    tensors: dict[str, Tensor],
    path: str | Path,
    preset: str | Recipe | None = None,
    stats: str | Path | dict[str, Any] | Whitening | None = None,
    *,
    shared_static: bool | None = None,
) -> DiffSDA:
    """Return DiffSDA with these weights, dropout off; ``path`` is for errors.

    Raises: as ``load_authors``.
    """
    base = find_preset(preset) if isinstance(preset, str) else preset
    if not isinstance(base, Recipe | None):
        raise InputError(
            f"preset: got {type(base).__name__}, expected a Recipe or a preset of DiffSDA like the weights"
        )
    try:
        recipe, assumed = _recipe(tensors, base)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, InputError):
            raise CheckpointError(f"{path}: its sizes make no model: {error}") from None
        first = ", ".join(list(tensors)[:5]) or "none"
        raise CheckpointError(
            f"{path}: got tensors that are not a DiffSDA model (lacks {error}; it begins with {first}), "
            "expected keys such as backbone.fc_a.weight and encoder.fc_s.weight"
        ) from None
    if shared_static is not None:
        recipe = recipe.replace(encoder={"shared_static": shared_static})
        assumed = [a for a in assumed if not a.startswith("shared_static")]
    if base is not None and base.backbone.kind != recipe.backbone.kind:
        raise InputError(
            f"preset: got {base.name} ({base.backbone.kind}), expected one with the weights' {recipe.backbone.kind}"
        )
    whitening = check.whitening(_whitening(stats), recipe)
    with torch.device("meta"):
        model = DiffSDA(recipe, whitening)
    known = entries(model)
    names = {e.theirs for e in known}
    shapes = _authors_shapes(model)
    extra = [k for k in tensors if k not in names and k not in {e.alias for e in known} and not _DEAD.search(k)]
    compare({k: tuple(v.shape) for k, v in tensors.items() if k in names}, shapes, str(path))
    for entry in known:
        if not tensors[entry.theirs].is_floating_point():
            raise CheckpointError(
                f"{path}: {entry.theirs} holds {tensors[entry.theirs].dtype}, expected floating point"
            )
        if entry.alias in tensors and not torch.equal(tensors[entry.alias], tensors[entry.theirs]):
            raise CheckpointError(f"{path}: {entry.alias} differs from {entry.theirs}, expected the same tensor")
    model.load_state_dict(to_ours(tensors, model), assign=True)
    model.provenance = {
        "source": "authors' state dict",
        "assumed": assumed,
        "dead": sum(1 for k in tensors if _DEAD.search(k)),
        "ignored": extra[:20],
        "ignored_count": len(extra),
    }
    return model.eval()


def _authors_shapes(model: DiffSDA) -> dict[str, tuple[int, ...]]:
    """Return the shape every tensor has under the authors' names."""
    ours = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    shapes = {}
    for entry in entries(model):
        shape = ours[entry.ours]
        if entry.rows is not None:
            shape = (sum(r.stop - r.start for r in entry.rows), *shape[1:])
        shapes[entry.theirs] = shape
    return shapes


def _recipe(tensors: Mapping[str, Tensor], base: Recipe | None) -> tuple[Recipe, list[str]]:
    """Infer the sizes; return the recipe and what had to be assumed."""
    video = "backbone.head.weight" in tensors
    lstm = "encoder.lstm" if video else "encoder.z_lstm"
    encoder: dict[str, Any] = {
        "hidden": _size(tensors, f"{lstm}.weight_hh_l0", 1),
        "static": _size(tensors, "encoder.fc_s.weight", 0),
        "dynamic": _size(tensors, "encoder.fc_d.weight", 0),
    }
    backbone: dict[str, Any] = {"kind": "unet" if video else "mlp"}
    if video:
        features = _size(tensors, f"{lstm}.weight_ih_l0", 1)
        size = math.isqrt(features)
        if size**2 != features:
            raise InputError(f"{lstm}: got {features} features, expected a square frame")
        clips: dict[str, Any] = {"modality": "video", "channels": _size(tensors, "backbone.head.weight", 1)}
        clips |= {"size": size}
        backbone |= _unet_sizes(tensors, "backbone")
        encoder |= _unet_sizes(tensors, "encoder")
    else:
        clips = {"channels": _size(tensors, "backbone.layers.0.linear.weight", 1)}
        backbone["width"] = _quarter(_size(tensors, "backbone.layers.0.linear.weight", 0))
        encoder["width"] = _quarter(_size(tensors, "encoder.layers.0.linear.weight", 0))
    if base is not None:
        return base.replace(clips=clips, backbone=backbone, encoder=encoder), []
    latent = video and clips["channels"] != 3
    P_mean, P_std = (-1.2, 1.2) if video and not latent else (-0.4, 1.0)
    draws = 1 if video else 10
    recipe = Recipe(name="imported").replace(
        clips={**clips, "latent": latent},
        backbone=backbone,
        encoder=encoder,
        noise={"P_mean": P_mean, "P_std": P_std},
        optim={"draws": draws},
    )
    assumed = [
        f"P_mean {P_mean}, P_std {P_std}",
        f"steps {recipe.sampling.steps}",
        "shared_static True",
        f"draws {draws}",
        "frames any",
        "dropout 0.1",
    ]
    return recipe, assumed


def _size(tensors: Mapping[str, Tensor], key: str, axis: int) -> int:
    return tensors[key].shape[axis]


def _quarter(width: int) -> int:
    if width % 4:
        raise InputError(f"layer width: got {width}, expected a multiple of 4")
    return width // 4


def _unet_sizes(tensors: Mapping[str, Tensor], net: str) -> dict[str, Any]:
    """Read levels, blocks a level and attention off the keys of the way down."""
    width = _size(tensors, f"{net}.head.weight", 0)
    multipliers, attention, blocks, i = [], [], [], 0
    level_blocks = 0
    while any(k in tensors for k in (f"{net}.downblocks.{i}.main.weight", f"{net}.downblocks.{i}.block1.2.weight")):
        key = f"{net}.downblocks.{i}"
        if f"{key}.main.weight" in tensors:
            blocks.append(level_blocks)
            level_blocks = 0
        else:
            level_blocks += 1
            if level_blocks == 1:
                multipliers.append(_size(tensors, f"{key}.block1.2.weight", 0) / width)
                if f"{key}.attn.proj.weight" in tensors:
                    attention.append(len(multipliers) - 1)
        i += 1
    blocks.append(level_blocks)
    if len(set(blocks)) != 1 or any(m != int(m) for m in multipliers):
        raise InputError(f"{net}: got blocks {blocks} and multipliers {multipliers}, expected an even U-Net")
    return {
        "width": width,
        "multipliers": tuple(map(int, multipliers)),
        "attention": tuple(attention),
        "blocks": blocks[0],
    }


def _whitening(stats: str | Path | dict[str, Any] | Whitening | None) -> Whitening | None:
    if stats is None or isinstance(stats, Whitening):
        return stats
    if isinstance(stats, dict):
        return Whitening.from_dict(stats)
    try:
        with zipfile.ZipFile(stats) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > _LARGEST_STATS:
            raise InputError(f"{stats}: unpacks to {unpacked} bytes, expected one number a channel")
        with np.load(stats, allow_pickle=False) as held:
            plain = {k: held[k] for k in ("mean", "std", "variance") if k in held}
            found = ", ".join(held) or "none"
    except InputError:
        raise
    except Exception as error:  # a broken file can fail in any way zipfile, zlib and numpy know
        raise InputError(f"{stats}: cannot be read ({error}), expected an npz with mean and std") from None
    if "mean" not in plain or len(plain) < 2:
        raise InputError(f"{stats}: got arrays {found}, expected mean and std (or variance)")
    return Whitening.from_dict(plain)
