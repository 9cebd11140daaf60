"""Encode clips: ours beside the published execution and the floor."""

from __future__ import annotations

from diffsda.bench.cases import encode

WHAT = "encode"


def test_encode(side_by_side, preset):
    side_by_side(encode, WHAT, preset, least=7)
