"""How nearest_code is cut into programs: a pure function of its sizes."""

from __future__ import annotations

from dataclasses import dataclass

from diffsda.kernels.nearest_code.reference import DIRECT

LARGEST = 2**28
"""Codes our kernel takes: offsets into a codebook of up to 8 columns fit 32 bits."""


@dataclass(frozen=True)
class Plan:
    """Tiles: ``rows`` of a program, ``codes`` compared at once, ``chunk`` columns multiplied at once."""

    direct: bool
    rows: int
    codes: int
    chunk: int
    warps: int


def plan(codes: int, width: int) -> Plan:
    """Choose the kernel and its tiles for K codes of D columns."""
    if width <= DIRECT:
        # A warp's lanes take a code each; a thread compares its code with 16 rows that stay in registers.
        return Plan(True, 64, 32, width, 4)
    return Plan(False, 64, 64, 32, 4)
