"""Every kernel launch that a preset leads to: the nets and the steps around them, run on tensors without data."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

import torch
from torch import Tensor, nn

from diffsda.bench.on_paper import Launch, on_paper
from diffsda.bench.sass import SHARED_LIMIT
from diffsda.bench.sites import norm_sites
from diffsda.denoiser import build_backbone
from diffsda.encoder import SequenceEncoder
from diffsda.kernels import group_norm
from diffsda.kernels.backend import BACKENDS
from diffsda.kernels.launch import CUT_FOR, elsewhere
from diffsda.nn.blocks import GROUPS, Norm
from diffsda.nn.mlp import RowNorm
from diffsda.presets import PRESETS
from diffsda.recipe import Recipe

DTYPES = (torch.bfloat16, torch.float32)
FRAMES = (160, 10)
"""Frames at once: a training batch of 16 clips, and one clip."""
QUICK = ("voxceleb", "mug", "timit", "physionet")
OFFSET = ("voxceleb", "mug")
"""Presets whose norms are listed with ``offset`` too: frames of 32 and of 64 pixels a side."""
NETS = ("group_norm", "film_layer_norm", "attention")


def launches(*, quick: bool = False, ops: Sequence[str] | None = None) -> list[Launch]:
    """Return what the operations would start, the most telling shapes first.

    quick: each kernel once in bfloat16 and once in float32, at shapes of a video and of a vector preset.
    """
    found: list[Launch] = []
    wanted = {op for op in (ops or OPERATIONS) if _exists(op)}
    recipes = _distinct(PRESETS.values())
    if quick:
        recipes = [PRESETS[name] for name in QUICK]
    if wanted & set(NETS):
        for recipe in recipes:
            found += _cut(recipe)
    if "group_norm" in wanted:
        for recipe in recipes:
            found += _through_shared_memory(recipe)
    if "film_layer_norm" in wanted:
        found += _wide_rows()
    for op in sorted(wanted - set(NETS)):
        for recipe in recipes:
            for dtype in DTYPES:
                with on_paper() as noted, torch.device("meta"):
                    OPERATIONS[op](recipe, dtype)
                found += noted
    found = [launch for launch in found if launch.op.removesuffix("_backward") in wanted or _family(launch) in wanted]
    return _one_each(found) if quick else found


def _family(launch: Launch) -> str:
    """Return the operation a registered name belongs to: heun for heun_predict."""
    return next((op for op in OPERATIONS if launch.op.startswith(op)), launch.op)


def _one_each(found: list[Launch]) -> list[Launch]:
    """Return one launch of every kernel and dtype: the one with the most parts switched on."""
    known: dict[tuple[object, ...], Launch] = {}
    for launch in found:
        key = (launch.op, launch.specialisation.name, launch.dtype, launch.targets)
        if key not in known or _parts(launch) > _parts(known[key]):
            known[key] = launch
    return list(known.values())


def _parts(launch: Launch) -> int:
    return sum(bool(value) for value in launch.specialisation.constants.values())


def _exists(op: str) -> bool:
    return importlib.util.find_spec(f"diffsda.kernels.{op}.op") is not None


def _distinct(recipes: Iterator[Recipe] | Sequence[Recipe]) -> list[Recipe]:
    """Return one recipe for every set of networks."""
    return list({_networks(recipe): recipe for recipe in recipes}.values())


def _networks(recipe: Recipe) -> tuple[object, ...]:
    """Return what tells a recipe's networks from another's."""
    encoder = recipe.encoder
    return recipe.clips, recipe.backbone, encoder.width, encoder.multipliers, encoder.dropout


def _nets(recipe: Recipe) -> list[Launch]:
    found: list[Launch] = []
    for last in (True, False) if recipe.clips.size else (True,):
        for dtype in DTYPES:
            with torch.device("meta"):
                nets = (SequenceEncoder(recipe).frame, build_backbone(recipe))
            for net in nets:
                _cast(net, dtype)
            for count in FRAMES:
                for train in (True, False):
                    with on_paper(channels_last=last) as noted, torch.set_grad_enabled(train):
                        _run(recipe, nets, dtype, count, last, train)
                    found += noted
                if last:
                    with on_paper() as noted:
                        _norms_with_offset(recipe, dtype, count)
                    found += noted
    return found


def _norms_with_offset(recipe: Recipe, dtype: torch.dtype, count: int) -> None:
    """Run the norms of a video preset's nets as inference does: channels_last, a constant a channel, no dropout."""
    if _networks(recipe) not in {_networks(PRESETS[name]) for name in OFFSET}:
        return
    if dtype == torch.float32 and count != FRAMES[0]:
        return  # One clip is listed in bfloat16 alone: the record stays short.
    for site in norm_sites(recipe):
        with torch.no_grad(), torch.device("meta"):
            shapes = [(count, channels, site.size, site.size) for channels in (site.channels, site.skipped)]
            x, skip = (torch.empty(s, dtype=dtype).contiguous(memory_format=torch.channels_last) for s in shapes)
            one = torch.empty(site.total)
            scale = torch.empty((count, site.total)) if site.modulated else None  # prepared nets modulate in float32
            options = {"scale": scale, "shift": scale, "act": site.act, "skip": skip if site.skipped else None}
            group_norm(x, one, one, groups=GROUPS, offset=one, **options)


def _cut(recipe: Recipe) -> list[Launch]:
    """Return the nets' launches: those that depend on the GPU with the targets they are for."""
    here = _nets(recipe)
    with elsewhere():
        there = _nets(recipe)
    own, others = 10 * CUT_FOR[0] + CUT_FOR[1], tuple(t for t in SHARED_LIMIT if t != 10 * CUT_FOR[0] + CUT_FOR[1])
    known = {launch.specialisation.key for launch in here} & {launch.specialisation.key for launch in there}
    shared = [launch for launch in here if launch.specialisation.key in known]
    alone = [(launch, (own,)) for launch in here] + [(launch, others) for launch in there]
    return shared + [dataclasses.replace(l, targets=t) for l, t in alone if l.specialisation.key not in known]


def _through_shared_memory(recipe: Recipe) -> list[Launch]:
    """Return the Gluon kernels, as planned for each size of shared memory."""
    if not recipe.clips.size or "gluon" not in BACKENDS["group_norm"]:
        return []
    found: list[Launch] = []
    for room in sorted(set(SHARED_LIMIT.values()), reverse=True):
        targets = tuple(t for t, limit in SHARED_LIMIT.items() if limit == room)
        for dtype in DTYPES:
            with torch.device("meta"):
                nets = (SequenceEncoder(recipe).frame, build_backbone(recipe))
            for net in nets:
                _cast(net, dtype)
            with (
                mock.patch("diffsda.kernels.group_norm.launches.shared_memory", lambda _, r=room: r * 1024),
                on_paper(group_norm="gluon") as noted,
                torch.no_grad(),
            ):
                _run(recipe, nets, dtype, FRAMES[0], last=True, train=False)
                _norms_with_offset(recipe, dtype, FRAMES[0])
            gluon = [launch for launch in noted if launch.specialisation.kernel.is_gluon()]
            found += [dataclasses.replace(launch, targets=targets) for launch in gluon]
    return found


def _wide_rows() -> list[Launch]:
    """Return film_layer_norm on rows wider than any preset's, which take other kernels."""
    from diffsda.kernels import film_layer_norm

    with on_paper() as noted, torch.device("meta"):
        for dtype in DTYPES:
            rows = [torch.empty((160, 8192), dtype=kind, requires_grad=True) for kind in (dtype, torch.float32)]
            weight, bias = (torch.empty(8192, requires_grad=True) for _ in range(2))
            state = torch.empty(2, dtype=torch.int64)
            modulation = {"scale": rows[1], "shift": rows[1]}
            y = film_layer_norm(rows[0], weight, bias, **modulation, dropout=0.1, state=state)
            y.backward(torch.empty_like(y))
    return noted


def _run(
    recipe: Recipe, nets: tuple[nn.Module, nn.Module], dtype: torch.dtype, count: int, last: bool, train: bool
) -> None:
    """Run the frame encoder and the denoising network, in training with their gradients."""
    encoder, backbone = (net.train(train) for net in nets)
    x = torch.empty((count, *_frame(recipe)), dtype=dtype, device="meta")
    if last and recipe.clips.size:
        x = x.to(memory_format=torch.channels_last)
    # Training folds its tables in float32; a net cast for sampling holds them in its own dtype.
    folded = (count, sum(backbone.modulation.channels))  # type: ignore[union-attr]
    kind = torch.float32 if train else dtype
    scale, shift = (torch.empty(folded, dtype=kind, device="meta", requires_grad=train) for _ in range(2))
    features = encoder(x)
    y = backbone.network(x, scale, shift)
    if train:
        torch.autograd.backward([features, y], [torch.empty_like(features), torch.empty_like(y)])


def _cast(net: nn.Module, dtype: torch.dtype) -> None:
    """Give layers the dtype they work in under autocast; norms keep float32 parameters."""
    for module in net.modules():
        if not isinstance(module, (Norm, RowNorm)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


def _frame(recipe: Recipe) -> tuple[int, ...]:
    c = recipe.clips
    return (c.channels, c.size, c.size) if c.size else (c.channels,)


def _rows(recipe: Recipe, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Return a float32 tensor and one of the network's dtype, of every number of frames and in every layout."""
    found = []
    for count in FRAMES:
        state = torch.empty((count, *_frame(recipe)), dtype=torch.float32)
        network = torch.empty_like(state, dtype=dtype)
        found.append((state, network))
        if recipe.clips.size:
            last = network.to(memory_format=torch.channels_last)
            found += [(state, last), (torch.empty_like(last, dtype=torch.float32), last)]
    return found


def _heun(recipe: Recipe, dtype: torch.dtype) -> None:
    from diffsda.kernels.heun import heun_correct, heun_predict

    with torch.no_grad():
        for x, f in _rows(recipe, dtype):
            heun_predict(x, f, torch.empty_like(f), a=0.5, b=0.5)
            numbers = {"keep": 0.5, "first": 0.5, "second": 0.5, "c_in": 0.5}
            heun_correct(x, f, torch.empty_like(f), torch.empty_like(f), **numbers)
            heun_correct(x, f, None, None, **numbers)


def _precondition(recipe: Recipe, dtype: torch.dtype) -> None:
    from diffsda.kernels.precondition import precondition

    for x, f in _rows(recipe, dtype):
        last = f.ndim == 4 and not f.is_contiguous()
        sigma = torch.empty(x.shape[0])
        precondition(x.contiguous(), torch.empty_like(x).contiguous(), sigma, dtype=dtype, channels_last=last)


def _edm_loss(recipe: Recipe, dtype: torch.dtype) -> None:
    from diffsda.kernels.edm_loss import edm_loss

    for x, f in _rows(recipe, dtype):
        clean, sigma = x.contiguous(), torch.empty(x.shape[0])
        series = not recipe.clips.size
        # Series are masked where values are missing and padded where clips are short.
        for mask, real in ((None, None), (torch.empty_like(clean), torch.empty_like(sigma, dtype=torch.bool)))[
            : 1 + series
        ]:
            leaf = f.detach().requires_grad_()
            edm_loss(leaf, clean, torch.empty_like(clean), sigma, mask=mask, real=real).backward()
            with torch.no_grad():
                edm_loss(f, clean, torch.empty_like(clean), sigma, mask=mask, real=real)


def _adamw(recipe: Recipe, dtype: torch.dtype) -> None:
    from diffsda.kernels.adamw import adamw

    model = nn.ModuleList([SequenceEncoder(recipe), build_backbone(recipe)])
    params = [p.detach() for p in model.parameters()]
    lists = [[torch.empty_like(p) for p in params] for _ in range(4)]
    copies = [torch.empty_like(p, dtype=dtype) for p in params] if dtype != torch.float32 else None
    settings = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-5}
    moments = lists[1:3]
    adamw(params, lists[0], *moments, **settings, step=1, clip=1.0)
    step = torch.empty(())
    adamw(params, lists[0], *moments, **settings, step=step, clip=1.0, averages=lists[3], decay=0.999, copies=copies)


def _nearest_code(recipe: Recipe, dtype: torch.dtype) -> None:
    from diffsda.kernels.nearest_code import nearest_code

    if recipe.clips.latent:
        pixels = 10 * (recipe.clips.size or 0) ** 2
        # The VQ first stages' codebooks, and a wide one.
        for codes, width in ((16384, 4), (8192, 3), (1024, 256)):
            nearest_code(torch.empty((pixels, width), dtype=dtype), torch.empty((codes, width), dtype=dtype))


OPERATIONS: dict[str, Callable[[Recipe, torch.dtype], None]] = {
    **dict.fromkeys(NETS, lambda recipe, dtype: None),
    "heun": _heun,
    "precondition": _precondition,
    "edm_loss": _edm_loss,
    "adamw": _adamw,
    "nearest_code": _nearest_code,
}
"""How to call each operation at a preset's shapes; those of the nets are called by the nets."""
