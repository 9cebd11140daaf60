"""The judge reads the label of a clip from its time mean."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.judge import Judge

# Two kinds of clips: feature 0 rests at -1 or at 1; feature 1 moves the same way in all.
LABELS = np.array([0, 0, 1, 1])
X = np.stack([np.stack([np.full(4, 2.0 * y - 1), np.linspace(-1, 1, 4)], axis=1) for y in LABELS])


def test_reads_real_clips_and_counts_shares():
    judge = Judge.fit(X, LABELS)
    assert judge.predict(X).tolist() == [0, 0, 1, 1]
    assert judge.share(X, LABELS) == 1.0
    assert judge.share(X, [0, 1, 1, 1]) == 0.75


def test_padding_never_matters():
    lengths = np.array([4, 2, 3, 1])
    dirty = X.copy()
    for clip, n in zip(dirty, lengths):
        clip[n:] = np.nan
    judge = Judge.fit(dirty, LABELS, lengths)
    assert judge.predict(dirty, lengths).tolist() == judge.predict(X, lengths).tolist() == [0, 0, 1, 1]


def test_order_of_clips_does_not_matter():
    order = np.array([2, 0, 3, 1])
    assert Judge.fit(X[order], LABELS[order]).predict(X).tolist() == Judge.fit(X, LABELS).predict(X).tolist()


def test_video_is_flattened():
    video = np.random.default_rng(0).random((6, 3, 3, 4, 4))
    video[3:] += 0.5
    assert Judge.fit(video, ["dim"] * 3 + ["lit"] * 3).share(video, ["dim"] * 3 + ["lit"] * 3) == 1.0


def test_inputs_that_do_not_fit():
    judge = Judge.fit(X, LABELS)
    with pytest.raises(InputError, match="frames of 1 values, expected 2"):
        judge.predict(X[..., :1])
    with pytest.raises(InputError, match="one a clip"):
        judge.share(X, [0, 1])
    with pytest.raises(InputError, match="one class"):
        Judge.fit(X, [0, 0, 0, 0])
    with pytest.raises(InputError, match="not finite"):
        judge.predict(np.where(X == 1, np.inf, X))


def test_clips_without_a_known_label_are_no_class():
    labels = np.array([0, 0, 1, -1])
    judge = Judge.fit(X, labels)
    assert judge.reader.classes_.tolist() == [0, 1]
    # The last clip would be read right or wrong; it is neither.
    assert judge.share(X, labels) == 1.0
    assert judge.share(X, [1, -1, -1, 1]) == 0.5
    with pytest.raises(InputError, match="4 clips without a known label"):
        judge.share(X, np.full(4, -1))
    with pytest.raises(InputError, match="one class"):
        Judge.fit(X, [1, 1, -1, -1])
