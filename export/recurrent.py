"""LSTM and tanh RNN as one node each: torch.export would write out every frame.

Each is an operation of its own for torch.export, which then sees shapes only, and becomes ONNX's node of that name.
Weights are brought into ONNX's order once, when a graph is prepared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

GATES = {"lstm": (0, 3, 1, 2), "rnn_tanh": (0,)}
"""Torch's gates (input, forget, cell, output) in ONNX's order: input, output, forget, cell."""


class Recurrence(nn.Module):
    """A recurrent layer as one operation, from rest; several directions run side by side.

    Shapes: x (B, V, F) -> states (B, V, directions * H).
    """

    def __init__(self, kind: str, *layers: nn.RNNBase) -> None:
        super().__init__()
        self.kind, self.hidden = kind, layers[0].hidden_size
        packed = [_packed(layer, GATES[kind]) for layer in layers]
        for name, parts in zip(("w", "r", "b"), zip(*packed)):
            self.register_buffer(name, torch.stack(parts))

    def forward(self, x: Tensor) -> Tensor:
        operations()
        operation = getattr(torch.ops.diffsda_export, self.kind)
        return operation(x, self.w, self.r, self.b, self.hidden)


def _packed(layer: nn.RNNBase, gates: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return W (gates * H, F), R (gates * H, H) and both biases (2 * gates * H,) in ONNX's order."""

    def ordered(name: str) -> Tensor:
        return torch.cat([getattr(layer, name).detach().float().chunk(len(gates))[gate] for gate in gates])

    return ordered("weight_ih_l0"), ordered("weight_hh_l0"), torch.cat([ordered("bias_ih_l0"), ordered("bias_hh_l0")])


@cache
def operations() -> None:
    """Register both operations with torch."""
    for kind, step in (("lstm", _lstm_step), ("rnn_tanh", _rnn_step)):
        _register(kind, step)


def _register(kind: str, step: Callable[[Tensor, list[Tensor]], list[Tensor]]) -> None:
    @torch.library.custom_op(f"diffsda_export::{kind}", mutates_args=())
    def run(x: Tensor, w: Tensor, r: Tensor, b: Tensor, hidden: int) -> Tensor:
        outputs = []
        for direction in range(w.shape[0]):
            order = range(x.shape[1]) if direction == 0 else range(x.shape[1] - 1, -1, -1)
            bias = b[direction].unflatten(0, (2, -1)).sum(0)
            state = [x.new_zeros(x.shape[0], hidden), x.new_zeros(x.shape[0], hidden)]
            rows: dict[int, Tensor] = {}
            for v in order:
                state = step(x[:, v] @ w[direction].t() + state[0] @ r[direction].t() + bias, state)
                rows[v] = state[0]
            outputs.append(torch.stack([rows[v] for v in range(x.shape[1])], dim=1))
        return torch.cat(outputs, dim=2)

    @run.register_fake
    def _(x: Tensor, w: Tensor, r: Tensor, b: Tensor, hidden: int) -> Tensor:
        return x.new_empty(x.shape[0], x.shape[1], w.shape[0] * hidden)


def _lstm_step(gates: Tensor, state: list[Tensor]) -> list[Tensor]:
    i, o, f, g = gates.chunk(4, dim=1)
    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return [o.sigmoid() * cell.tanh(), cell]


def _rnn_step(gates: Tensor, state: list[Tensor]) -> list[Tensor]:
    return [gates.tanh(), state[1]]


def translations() -> dict[Any, Callable[..., Any]]:
    """Return what the exporter writes for both operations."""
    from onnxscript import opset21

    op: Any = opset21

    operations()

    def states(node: Any, w: Any) -> Any:
        # (V, directions, B, H) -> (B, V, directions * H)
        return op.Reshape(op.Transpose(node, perm=[2, 0, 1, 3]), op.Constant(value_ints=[0, 0, -1]))

    def way(w: Any) -> str:
        return "bidirectional" if w.shape[0] == 2 else "forward"

    def lstm(x: Any, w: Any, r: Any, b: Any, hidden: int) -> Any:
        given = op.Transpose(x, perm=[1, 0, 2])
        return states(op.LSTM(given, w, r, b, direction=way(w), hidden_size=hidden)[0], w)

    def rnn_tanh(x: Any, w: Any, r: Any, b: Any, hidden: int) -> Any:
        given = op.Transpose(x, perm=[1, 0, 2])
        # Said, since the default names two directions, which TensorRT refuses for one.
        functions = ["Tanh"] * w.shape[0]
        node = op.RNN(given, w, r, b, activations=functions, direction=way(w), hidden_size=hidden)
        return states(node[0], w)

    return {
        torch.ops.diffsda_export.lstm.default: lstm,
        torch.ops.diffsda_export.rnn_tanh.default: rnn_tanh,
    }
