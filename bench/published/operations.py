"""The convolutions and matrix products a model cannot do without, read off the published networks.

The networks run on the meta device. The conditioning projections are left out of the network, because nothing
in them changes from one evaluation to the next; they come back as two products a sample or training step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from diffsda.bench.published.blocks import Attention, UpSample
from diffsda.bench.published.model import build
from diffsda.errors import InputError
from diffsda.recipe import Recipe

What = Literal["encode", "denoise", "sample", "train"]
WHATS: tuple[What, ...] = ("encode", "denoise", "sample", "train")
_NOISE_TABLE = ("temb_proj", "t_linear_emb")
_CONDITIONING = (*_NOISE_TABLE, "aemb_proj", "a_linear_emb", "time_embedding", "time_embed", "fc_a")


@dataclass(frozen=True)
class Operation:
    """One convolution or matrix product, how often it runs and how much of its backward pass runs.

    ``shape``: conv (N, Cin, H, W, Cout, kernel, stride) with the input's H and W; product (P, M, K, N) for P
    times (M, K) by (K, N). ``backward``: none; weight (the input is data and needs no gradient); both.
    ``doubled``: the input is a frame of half the size, every pixel written four times.
    """

    kind: Literal["conv", "product"]
    shape: tuple[int, ...]
    backward: Literal["none", "weight", "both"] = "none"
    count: int = 1
    doubled: bool = False


def operations(recipe: Recipe, what: What, batch: int, frames: int) -> list[Operation]:
    """List the distinct operations of ``what`` for B = ``batch`` clips of V = ``frames`` frames.

    encode: the encoder once, its recurrent networks step by step. denoise: one network evaluation. sample:
    2T - 1 of them and the tables (rows: T noise levels, B * V factors). train: forward and backward of the
    encoder on B clips, the network on ``optim.draws`` * B, tables with a noise level a frame and draw.
    Source: the authors' code (shapes). Differs: conditioning is two tables, a clip is encoded once a step,
    queries, keys and values are one product.
    Raises: InputError for an unknown ``what`` or sizes below 1.
    """
    if what not in WHATS or batch < 1 or frames < 1:
        raise InputError(
            f"operations: got {what!r} for {batch} clips of {frames} frames, "
            f"expected one of {', '.join(WHATS)} and sizes of at least 1"
        )
    draws, steps = recipe.optim.draws, recipe.sampling.steps
    if what == "encode":
        return _merge(_encoder(recipe, batch, frames, train=False))
    if what == "denoise":
        return _merge(_network(recipe, batch, frames, train=False))
    if what == "sample":
        network = _network(recipe, batch, frames, train=False)
        network = [replace(op, count=op.count * (2 * steps - 1)) for op in network]
        return _merge(network + _tables(recipe, steps, batch * frames, train=False))
    found = _encoder(recipe, batch, frames, train=True) + _network(recipe, draws * batch, frames, train=True)
    return _merge(found + _tables(recipe, draws * batch * frames, batch * frames, train=True))


def flops(listed: list[Operation]) -> int:
    """Count floating-point operations, two a multiply-add; each gradient costs as much as the forward."""
    passes = {"none": 1, "weight": 2, "both": 3}
    return sum(_forward_flops(op) * passes[op.backward] * op.count for op in listed)


def _merge(found: list[Operation]) -> list[Operation]:
    counts: Counter[Operation] = Counter()
    for op in found:
        counts[replace(op, count=1)] += op.count
    return [replace(op, count=count) for op, count in counts.items()]


def _encoder(recipe: Recipe, batch: int, frames: int, *, train: bool) -> list[Operation]:
    with torch.device("meta"):
        return _watch(build(recipe).encoder, train, torch.empty(batch, frames, *_frame(recipe)))


def _network(recipe: Recipe, batch: int, frames: int, *, train: bool) -> list[Operation]:
    rows = (batch * frames,)
    lead = (batch, frames) if recipe.backbone.kind == "mlp" else rows
    width = recipe.encoder.dynamic + recipe.encoder.static
    with torch.device("meta"):
        x, c_noise, a = torch.empty(*lead, *_frame(recipe)), torch.empty(rows), torch.empty(*lead, width)
        return _watch(build(recipe).backbone, train, x, c_noise, a)


def _frame(recipe: Recipe) -> tuple[int, ...]:
    channels, size = recipe.clips.channels, recipe.clips.size
    return (channels,) if recipe.backbone.kind == "mlp" else (channels, size, size)  # type: ignore[return-value]


def _tables(recipe: Recipe, noise_rows: int, factor_rows: int, *, train: bool) -> list[Operation]:
    """Return the two products that make scale and shift of every block: rows x tdim -> 2 * sum of C."""
    with torch.device("meta"):
        modules = build(recipe).backbone.named_modules()
    found = [m for name, m in modules if isinstance(m, nn.Linear) and _named(name, _NOISE_TABLE)]
    tdim, wide = found[0].in_features, sum(m.out_features for m in found)
    both = "both" if train else "none"
    return [Operation("product", (1, rows, tdim, wide), both) for rows in (noise_rows, factor_rows)]


def _named(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in parts for part in name.split("."))


def _watch(net: nn.Module, train: bool, *inputs: Tensor) -> list[Operation]:
    """Run a network on the meta device and list what its convolutions, products and recurrences do."""
    found: list[Operation] = []
    doubled = {f"{name}.main" for name, module in net.named_modules() if isinstance(module, UpSample)}
    for name, module in net.named_modules():
        # Queries stand for keys and values too.
        if not _named(name, (*_CONDITIONING, "proj_k", "proj_v")):
            data = name == "head" or name.startswith("layers.0.")  # its input is the clip: no gradient
            backward = "none" if not train else "weight" if data else "both"
            wide = 3 if _named(name, ("proj_q",)) else 1
            module.register_forward_hook(partial(_note, found, backward, wide, name in doubled))
    with torch.no_grad():
        net(*inputs)
    return found


def _note(
    found: list[Operation], backward: str, wide: int, doubled: bool, module: nn.Module, inputs: tuple, _: object
) -> None:
    x = inputs[0]
    if isinstance(module, nn.Conv2d):
        shape = (*x.shape, wide * module.out_channels, module.kernel_size[0], module.stride[0])
        found.append(Operation("conv", shape, backward, doubled=doubled))
    elif isinstance(module, nn.Linear):
        rows = x.numel() // module.in_features
        found.append(Operation("product", (1, rows, module.in_features, module.out_features), backward))
    elif isinstance(module, Attention):
        n, c, pixels = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
        found.append(Operation("product", (n, pixels, c, pixels), backward))
        found.append(Operation("product", (n, pixels, pixels, c), backward))
    elif isinstance(module, nn.RNNBase):
        found.extend(_recurrent(module, x, backward))


def _recurrent(module: nn.RNNBase, x: Tensor, backward: str) -> list[Operation]:
    """List a recurrent layer: one product for all inputs, one a step for the states, in each direction."""
    (batch, frames, fan_in), hidden = x.shape, module.hidden_size
    ways, wide = 1 + module.bidirectional, hidden * (4 if isinstance(module, nn.LSTM) else 1)
    found = [
        Operation("product", (1, batch * frames, fan_in, wide), backward, ways),
        Operation("product", (1, batch, hidden, wide), count=ways * frames),
    ]
    if backward != "none":
        # States must go backwards one by one, but the weight's gradient is one product over all steps.
        found.append(Operation("product", (1, batch, wide, hidden), count=ways * frames))
        found.append(Operation("product", (1, hidden, batch * frames, wide), count=ways))
    return found


def _forward_flops(op: Operation) -> int:
    if op.kind == "product":
        count, m, k, n = op.shape
        return 2 * count * m * k * n
    n, cin, height, width, cout, kernel, stride = op.shape
    pixels = ((height - 1) // stride + 1) * ((width - 1) // stride + 1)
    return 2 * n * pixels * cin * cout * kernel**2
