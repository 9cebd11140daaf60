"""How attention is cut into programs: a pure function of its sizes, the same for every architecture."""

from __future__ import annotations

from dataclasses import dataclass

from diffsda.kernels.launch import power_of_two

LONGEST = 256
"""Tokens our kernels take: a block of queries keeps its scores against all keys in registers."""


@dataclass(frozen=True)
class Plan:
    """Tiles of one kernel: ``rows`` tokens of a program against all ``others`` (padded), ``chunk`` channels at once."""

    rows: int
    others: int
    chunk: int
    warps: int
    stages: int

    def blocks(self, tokens: int) -> int:
        """Return the number of programs a sample needs."""
        return -(-tokens // self.rows)

    def exact(self, tokens: int, channels: int) -> bool:
        """Say whether tiles fit, with nothing to mask."""
        return tokens == self.others and channels % self.chunk == 0


# By padded number of tokens: rows, channels at once, warps, stages. What decides, on every architecture: no spilled
# registers, 16 bytes a thread and access, and shared memory within 99 KB where there is no more (sm_86, 89, 120).
_FORWARD = {16: (16, 128, 4, 3), 32: (32, 64, 4, 3), 64: (64, 32, 4, 5), 128: (64, 64, 4, 2), 256: (64, 32, 8, 3)}
_BACKWARD = {16: (16, 64, 4, 2), 32: (32, 64, 4, 2), 64: (64, 64, 8, 2), 128: (64, 32, 8, 2), 256: (32, 64, 8, 2)}
# float32 operands are multiplied without tensor cores: a thread holds its rows' operands, so there are fewer.
_FORWARD_32 = {16: (16, 32, 4, 2), 32: (32, 32, 4, 2), 64: (32, 32, 4, 2), 128: (32, 32, 8, 2), 256: (16, 32, 4, 2)}
_BACKWARD_32 = {16: (16, 32, 4, 2), 32: (32, 32, 4, 2), 64: (64, 32, 8, 2), 128: (32, 32, 8, 2), 256: (32, 32, 8, 2)}


def plan(tokens: int, channels: int, itemsize: int, *, backward: bool) -> Plan:
    """Choose the tiles of the forward kernel, or of both backward kernels."""
    others = max(16, power_of_two(tokens))
    if backward:
        table = _BACKWARD if itemsize == 2 else _BACKWARD_32
    else:
        table = _FORWARD if itemsize == 2 else _FORWARD_32
    rows, chunk, warps, stages = table[others]
    if table is _FORWARD and others == 64 and channels <= 64:
        rows, chunk, stages = 32, 64, 2  # The whole row at once: loops of two spill on sm_120.
    return Plan(rows, others, min(chunk, max(16, power_of_two(channels))), warps, stages)
