"""The ways to run one convolution or matrix product: layouts, as another product, without doubled pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from diffsda.bench.published.operations import Operation

Call = Callable[[], object]


def parts(op: Operation, device: torch.device, dtype: torch.dtype, *, plain: bool = False) -> list[Mapping[str, Call]]:
    """Return the ways to run the forward pass, then those of each part of the backward pass that is asked for.

    Operands are random. ``plain``: only what computes the convolution as it is written, in either layout.
    """
    if op.kind == "product":
        return [{"product": call} for call in _product(op, device, dtype)]
    layouts = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
    forward: dict[str, Call] = {}
    backward: dict[str, Call] = {}
    for name, layout in layouts.items():
        x, w = (t.to(memory_format=layout) for t in _operands(op, device, dtype))
        forward[name], backward[name] = _convolution(op, x, w)
    if not plain:
        pointwise = _pointwise(op, device, dtype)
        if pointwise is not None:
            forward["product"], backward["product"] = pointwise
        if op.doubled:
            forward |= _undoubled(op, device, dtype)
    return [forward] if op.backward == "none" else [forward, backward]


def _product(op: Operation, device: torch.device, dtype: torch.dtype) -> list[Call]:
    count, m, k, n = op.shape
    draw = partial(torch.randn, device=device, dtype=dtype)
    multiply = torch.mm if count == 1 else torch.bmm
    lead = () if count == 1 else (count,)
    x, w, g = draw(*lead, m, k), draw(*lead, n, k).mT, draw(*lead, m, n)  # weights lie as in nn.Linear
    calls: list[Call] = [partial(multiply, x, w), partial(multiply, x.mT, g), partial(multiply, g, w.mT)]
    return calls[: {"none": 1, "weight": 2, "both": 3}[op.backward]]


def _operands(op: Operation, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    n, cin, height, width, cout, kernel, _ = op.shape
    draw = partial(torch.randn, device=device, dtype=dtype)
    return draw(n, cin, height, width), draw(cout, cin, kernel, kernel)


def _convolution(op: Operation, x: Tensor, w: Tensor) -> tuple[Call, Call]:
    """Return forward and backward of a convolution, in the layout of its operands."""
    kernel, stride = op.shape[5:]
    how = ([stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], 1)
    forward = partial(torch.ops.aten.convolution, x, w, None, *how)
    gradient = [] if op.backward == "none" else [torch.randn_like(forward())]

    def backward() -> object:
        return torch.ops.aten.convolution_backward(gradient[0], x, w, None, *how, [op.backward == "both", True, False])

    return forward, backward


def _pointwise(op: Operation, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call] | None:
    """Return a 1x1 convolution of channels-last frames as a product, and the products of its backward pass."""
    n, cin, height, width, cout, kernel, stride = op.shape
    if kernel != 1 or stride != 1:
        return None
    calls = _product(Operation("product", (1, n * height * width, cin, cout), op.backward), device, dtype)

    def backward() -> None:
        for call in calls[1:]:
            call()

    return calls[0], backward


def _undoubled(op: Operation, device: torch.device, dtype: torch.dtype) -> dict[str, Call]:
    """Return a 3x3 convolution of doubled pixels as sums of kernel values over pixels that are there once.

    ``phases``: a 2x2 convolution for each of the four positions in a doubled pixel; ``together``: one 2x2 convolution
    of four times the channels; ``transposed``: one transposed convolution, 4x4 with stride 2.
    """
    n, cin, height, width, cout, _, _ = op.shape
    draw = partial(torch.randn, device=device, dtype=dtype)
    ways: dict[str, Call] = {}
    for name, layout in {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}.items():
        x = draw(n, cin, height // 2, width // 2).to(memory_format=layout)
        padded = draw(n, cin, height // 2 + 1, width // 2 + 1).to(memory_format=layout)  # at two of the four edges
        small = draw(cout, cin, 2, 2).to(memory_format=layout)
        wide = draw(4 * cout, cin, 2, 2).to(memory_format=layout)
        turned = draw(cin, cout, 4, 4).to(memory_format=layout)

        def phases(x: Tensor = padded, w: Tensor = small) -> None:
            for _ in range(4):
                F.conv2d(x, w)

        ways[f"phases {name}"] = phases
        ways[f"together {name}"] = partial(F.conv2d, x, wide, padding=1)
        ways[f"transposed {name}"] = partial(F.conv_transpose2d, x, turned, stride=2, padding=1)
    return ways


def tuned(op: Operation, device: torch.device, dtype: torch.dtype) -> list[Mapping[str, Call]]:
    """Return the forward pass as Inductor's own kernels, the fastest of many tried; nothing for backward passes."""
    options = {
        "max_autotune": True,
        "max_autotune_gemm_backends": "ATEN,TRITON",
        "max_autotune_conv_backends": "ATEN,TRITON",
    }
    if op.kind == "product":
        count, m, k, n = op.shape
        draw = partial(torch.randn, device=device, dtype=dtype)
        lead = () if count == 1 else (count,)
        multiply = torch.compile(torch.matmul, options=options, dynamic=False)
        first: Call = partial(multiply, draw(*lead, m, k), draw(*lead, n, k).mT)
        return [{"inductor": first}, *[{} for _ in range({"none": 0, "weight": 1, "both": 2}[op.backward])]]
    x, w = (t.to(memory_format=torch.channels_last) for t in _operands(op, device, dtype))
    convolve = torch.compile(F.conv2d, options=options, dynamic=False)
    kernel, stride = op.shape[5:]
    call: Call = partial(convolve, x, w, None, stride, kernel // 2)
    return [{"inductor": call}, *([] if op.backward == "none" else [{}])]
