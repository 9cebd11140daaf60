"""Encode clips: ours beside the published execution."""

from __future__ import annotations

import pytest

from diffsda.bench.cases import CASES, encode


@pytest.mark.parametrize("preset", CASES)
def test_encode(side_by_side, preset):
    side_by_side(encode, "encode", preset, rounds=15)
