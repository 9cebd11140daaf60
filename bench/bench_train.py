"""One training step: ours beside the published execution."""

from __future__ import annotations

import pytest

from diffsda.bench.cases import CASES, train


@pytest.mark.parametrize("preset", CASES)
def test_train(side_by_side, preset):
    side_by_side(train, "train", preset, rounds=7)
