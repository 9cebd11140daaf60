"""Z-scores measure what is known of the training part, and nothing else."""

import numpy as np
import pytest

from diffsda.data.series.zscore import zscore


def test_known_training_values_have_mean_0_and_deviation_1():
    draw = np.random.default_rng(0)
    x = draw.normal(5, 3, (20, 7, 2)) * [1, 1000]
    known = draw.random(x.shape) < 0.7
    fit = np.arange(12)
    scored, (mean, std) = zscore(np.where(known, x, np.nan), known, fit)
    assert scored.dtype == np.float32
    assert not scored[~known].any()
    for f in range(2):
        values = scored[:12, :, f][known[:12, :, f]]
        assert values.mean() == pytest.approx(0, abs=1e-6)
        assert values.std(ddof=1) == pytest.approx(1, abs=1e-6)
        raw = x[:12, :, f][known[:12, :, f]]
        assert mean[f] == pytest.approx(raw.mean())
        assert std[f] == pytest.approx(raw.std(ddof=1))
        back = scored[12:, :, f][known[12:, :, f]] * std[f] + mean[f]
        assert np.allclose(back, x[12:, :, f][known[12:, :, f]], rtol=1e-4)


def test_other_parts_do_not_move_the_measure():
    x = np.random.default_rng(1).normal(size=(6, 4, 1))
    other = x.copy()
    other[3:] *= 1e6
    known = np.ones(x.shape, bool)
    assert zscore(x, known, np.arange(3))[1] == zscore(other, known, np.arange(3))[1]


def test_a_feature_that_is_constant_or_unseen_has_deviation_1():
    x = np.full((3, 5, 2), 7.0)
    known = np.ones(x.shape, bool)
    known[:, :, 1] = False
    scored, (mean, std) = zscore(x, known, np.arange(3))
    assert mean == (7.0, 0.0)
    assert std == (1.0, 1.0)
    assert not scored.any()
