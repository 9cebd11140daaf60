"""One evaluation of the denoiser: ours beside the published execution."""

from __future__ import annotations

import pytest

from diffsda.bench.cases import CASES, denoise


@pytest.mark.parametrize("preset", CASES)
def test_denoise(side_by_side, preset):
    side_by_side(denoise, "denoise", preset, rounds=15)
