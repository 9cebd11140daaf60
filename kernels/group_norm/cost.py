"""What group_norm moves: the figures its benches divide by."""

from __future__ import annotations

from torch import dtype as DType

from diffsda.kernels.cost import Cost
from diffsda.kernels.group_norm.plan import plan, shared_slab


def forward(
    samples: int,
    channels: int,
    pixels: int,
    kind: DType,
    *,
    groups: int = 32,
    modulated: bool = True,
    last: bool = True,
    processors: int = 132,
    shared: bool = False,
    room: int = 227 * 1024,
    offset: bool = False,
) -> Cost:
    """Return the cost of y: x read, y written, and the small tensors that cannot be avoided.

    Parameters, ``offset``, modulation and statistics are float32. Read again: x where the slab does not stay on chip,
    parameters, offset and modulation by every program that shares a slab, and partial statistics.
    """
    x = samples * channels * pixels * kind.itemsize
    small = 4 * ((2 + offset) * channels + (2 * samples * channels if modulated else 0))
    statistics = 4 * 2 * samples * groups
    cut = plan(samples, channels, groups, pixels, last=last, backward=False, processors=processors, item=kind.itemsize)
    reread = 4 * 2 * channels * (samples * cut.splits - 1)  # weight and bias, once a sample and split
    reread += 4 * (2 * samples * channels if modulated else 0) * (cut.splits - 1)
    slab = shared_slab(channels, groups, pixels, kind.itemsize, room) if shared and last else None
    through = slab is not None and not cut.resident and samples * (channels // slab.channels) >= processors
    if through:
        reread = 4 * 2 * channels * (samples - 1)
    elif cut.splits > 1:
        partial = 4 * 2 * samples * groups * cut.splits
        reread += x + partial + partial * cut.splits
    elif not cut.resident:
        reread += x
    if offset:
        # Once a program of every pass; from shared memory three times: for both sums and for the result.
        times = 3 if through else 2 * cut.splits if cut.splits > 1 else 1
        reread += 4 * channels * (samples * times - 1)
    # Two operations for the mean, three for the deviation, two to apply, four for SiLU.
    return Cost(x + small, x + statistics, reread, flops=11 * samples * channels * pixels)


def backward(
    samples: int,
    channels: int,
    pixels: int,
    kind: DType,
    *,
    groups: int = 32,
    modulated: bool = True,
    last: bool = True,
    processors: int = 132,
) -> Cost:
    """Return the cost of all gradients: x and dy read, dx written, and the small tensors.

    Read again: x and dy where the slab does not stay on chip, and the sums over samples.
    """
    x = samples * channels * pixels * kind.itemsize
    per_sample = 4 * 2 * samples * channels
    small = 4 * 2 * channels + (per_sample if modulated else 0) + 4 * 2 * samples * groups
    made = 4 * 2 * channels + (per_sample if modulated else 0)
    cut = plan(samples, channels, groups, pixels, last=last, backward=True, processors=processors, item=kind.itemsize)
    reread = 0 if cut.resident else 2 * x
    # S0 and S1 are written once and read once on the way to dweight and dbias.
    reread += 2 * per_sample
    return Cost(2 * x + small, x + made, reread, flops=30 * samples * channels * pixels)
