"""A 63-evaluation sample: ours beside the published execution and the floor."""

from __future__ import annotations

from diffsda.bench.cases import sample

WHAT = "sample"


def test_sample(side_by_side, preset):
    side_by_side(sample, WHAT, preset, least=5)
