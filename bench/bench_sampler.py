"""A 63-evaluation sample: ours beside the published execution."""

from __future__ import annotations

import pytest

from diffsda.bench.cases import CASES, sample


@pytest.mark.parametrize("preset", CASES)
def test_sample(side_by_side, preset):
    side_by_side(sample, "sample", preset, rounds=3)
