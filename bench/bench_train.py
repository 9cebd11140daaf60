"""One training step: ours beside the published execution and the floor."""

from __future__ import annotations

from diffsda.bench.cases import train

WHAT = "train"


def test_train(side_by_side, preset):
    side_by_side(train, WHAT, preset, least=3)
