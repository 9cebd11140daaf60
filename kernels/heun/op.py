"""heun_predict and heun_correct: the switch, the launches, the registration."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from diffsda.kernels import first_use
from diffsda.kernels.backend import resolve
from diffsda.kernels.heun import reference
from diffsda.kernels.launch import Argument, launch, power_of_two, require

BLOCK, WARPS = 1024, 4
"""Eight elements a thread: 16 bytes of bfloat16."""
TILE = 1024
"""Elements of a tile of pixels by channels."""


def heun_predict(x: Tensor, f: Tensor, out: Tensor, *, a: float, b: float) -> None:
    """Write the network's next input from the state and the network's last output: out <- a x + b f.

    Shapes: x, f, out (N, ...), all the same; one dense layout, or x contiguous (N, C, H, W) and the others
    channels_last.
    Precision: x float32 (float64 with ``torch``), f and out in any; computed in x's dtype, coefficients in float32
    for float32. Autocast changes nothing.
    Cost: 8 bytes an element with f and out in bfloat16. No gradient.
    Source: DiffSDA Algorithms 1 and 2, Karras et al. 2022, Algorithm 2. Differs: the algebra is collapsed, see
    ``diffsda.edm.schedule.Step``.
    Raises: InputError for shapes, devices, dtypes or layouts that do not go together, or where a gradient is asked
    for; BackendError where an asked-for backend cannot run.
    """
    reference.check("heun_predict", x, f=f, out=out)
    if _which("heun_predict", x, f, None, out) == "torch":
        reference.heun_predict(x, f, out, a=a, b=b)
    else:
        _floats("heun_predict", x, f, out)
        torch.ops.diffsda.heun_predict(x, f, out, a, b)


def heun_correct(
    x: Tensor,
    f: Tensor,
    f2: Tensor | None,
    out: Tensor | None,
    *,
    keep: float,
    first: float,
    second: float,
    c_in: float,
) -> None:
    """Move the state and write the network's next input: x <- keep x + first f + second f2, out <- c_in x.

    ``f2`` None makes an Euler step, ``out`` None writes no input, as after the last step.
    Shapes: x, f, f2, out (N, ...), all the same; one dense layout, or x contiguous (N, C, H, W) and the others
    channels_last.
    Precision: as ``heun_predict``; out is rounded from the new state before that is stored.
    Cost: 14 bytes an element with f, f2 and out in bfloat16. No gradient.
    Source, Raises: as ``heun_predict``.
    """
    reference.check("heun_correct", x, f=f, f2=f2, out=out)
    if _which("heun_correct", x, f, f2, out) == "torch":
        reference.heun_correct(x, f, f2, out, keep=keep, first=first, second=second, c_in=c_in)
    else:
        _floats("heun_correct", x, f, f2, out)
        torch.ops.diffsda.heun_correct(x, f, f2, out, keep, first, second, c_in)


def predict(x: Tensor, f: Tensor, out: Tensor, a: float, b: float) -> None:
    """Launch out <- a x + b f."""
    from diffsda.kernels.heun import fused

    given: dict[str, Argument] = {"x": x, "f": f, "out": out, "a": a, "b": b}
    if reference.mixed(x, f):
        arguments, constants, grid = _tiles(x)
        launch(fused.predict_mixed, grid, {**given, **arguments}, constants, warps=WARPS)
        return
    arguments, constants, grid = _run(x)
    launch(fused.predict_flat, grid, {**given, **arguments}, constants, warps=WARPS)


def correct(
    x: Tensor,
    f: Tensor,
    f2: Tensor | None,
    out: Tensor | None,
    keep: float,
    first: float,
    second: float,
    c_in: float,
) -> None:
    """Launch x <- keep x + first f + second f2 and out <- c_in x."""
    from diffsda.kernels.heun import fused

    given: dict[str, Argument] = {"x": x, "f": f, "f2": f2, "out": out}
    given |= {"keep": keep, "first": first, "second": second, "c_in": c_in}
    options = {"SECOND": f2 is not None, "NEXT": out is not None}
    if reference.mixed(x, f):
        arguments, constants, grid = _tiles(x)
        launch(fused.correct_mixed, grid, {**given, **arguments}, {**options, **constants}, warps=WARPS)
        return
    arguments, constants, grid = _run(x)
    launch(fused.correct_flat, grid, {**given, **arguments}, {**options, **constants}, warps=WARPS)


def _run(x: Tensor) -> tuple[dict[str, int], dict[str, int], tuple[int, ...]]:
    total = x.numel()
    return {"total": total}, {"REST": total % 16 != 0, "BLOCK": BLOCK}, (-(-total // BLOCK),)


def _tiles(x: Tensor) -> tuple[dict[str, int], dict[str, int], tuple[int, ...]]:
    frames, channels, height, width = x.shape
    pixels = frames * height * width
    across = min(16, power_of_two(channels))
    down = TILE // across
    grid = (-(-pixels // down), -(-channels // across))
    return {"pixels": pixels, "HW": height * width}, {"C": channels, "PIXELS": down, "CHANNELS": across}, grid


def _which(operation: str, x: Tensor, f: Tensor, f2: Tensor | None, out: Tensor | None) -> str:
    which = resolve("heun", x.device)
    if which != "compare":
        return which
    if x.dtype != torch.float32 or torch.float64 in [t.dtype for t in (f, f2, out) if t is not None]:
        return "torch"
    return "triton" if _agrees(operation, x, f, f2, out) else "torch"


def _agrees(operation: str, x: Tensor, f: Tensor, f2: Tensor | None, out: Tensor | None) -> bool:
    key: Hashable = (*(None if t is None else t.dtype for t in (f, f2, out)), reference.mixed(x, f))
    target = None if out is None else out.dtype

    def ours(x: Tensor, f: Tensor, f2: Tensor | None = None) -> Tensor:
        y = None if target is None else torch.empty_like(f, dtype=target)
        if operation == "heun_predict":
            assert y is not None
            predict(x, f, y, 0.75, -1.5)
            return y
        correct(x, f, f2, y, 0.75, -1.5, 0.5, 1.25)
        return x if y is None else torch.stack([x, y.to(x.dtype)])

    def plain(x: Tensor, f: Tensor, f2: Tensor | None = None) -> Tensor:
        y = None if target is None else torch.empty_like(x)
        if operation == "heun_predict":
            assert y is not None
            reference.heun_predict(x, f, y, a=0.75, b=-1.5)
            return y
        reference.heun_correct(x, f, f2, y, keep=0.75, first=-1.5, second=0.5, c_in=1.25)
        return x if y is None else torch.stack([x, y])

    inputs = [x, f] if operation == "heun_predict" else [x, f, f2]
    return first_use.agrees(operation, key, ours, plain, inputs, gradients=False)


def _floats(operation: str, x: Tensor, *others: Tensor | None) -> None:
    for t in (x, *others):
        if t is not None:
            require(operation, t)


_predict = torch.library.custom_op("diffsda::heun_predict", predict, mutates_args=("out",))
_correct = torch.library.custom_op("diffsda::heun_correct", correct, mutates_args=("x", "out"))
_predict.register_fake(lambda *_: None)
_correct.register_fake(lambda *_: None)
