"""Statistics over blocks are those of the whole, for bands that hardly vary too."""

import numpy as np
import pytest

from diffsda.data.audio import statistics


@pytest.mark.parametrize("rows", [7, 100, 1000])
def test_blocks_do_not_matter(monkeypatch, rows):
    monkeypatch.setattr(statistics, "ROWS", rows)
    x = np.random.default_rng(0).normal([100, -8, 3], [0.1, 3, 0], (100, 3)).astype(np.float16)
    mean, std = statistics.measure(x)
    assert mean == pytest.approx(x.astype(np.float64).mean(0))
    assert std[:2] == pytest.approx(x.astype(np.float64).std(0)[:2])
    assert std[2] == 1.0
