"""One evaluation of the denoiser: ours beside the published execution and the floor."""

from __future__ import annotations

from diffsda.bench.cases import denoise

WHAT = "denoise"


def test_denoise(side_by_side, preset):
    side_by_side(denoise, WHAT, preset, least=7)
