"""Clips put together to utterances, by hand."""

import numpy as np
import pytest

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.utterances import utterances


def made(**labels):
    """Four clips of three frames of one feature."""
    return Clips(np.arange(12, dtype=np.float32).reshape(4, 3, 1), labels=labels)


def test_clips_follow_their_chunks():
    said = utterances(made(utterance=np.array([7, 3, 7, 7]), chunk=np.array([2, 0, 0, 1])))
    assert said.ids.tolist() == [3, 7]
    assert [rows.tolist() for rows in said.rows] == [[1], [2, 3, 0]]
    assert len(said) == 2
    assert said.mean([[1.0], [2.0], [3.0], [8.0]]).tolist() == [[2.0], [4.0]]
    short, long = said.joined(made().x, np.array([2, 3, 1, 3]))
    assert short[:, 0].tolist() == [3, 4, 5]
    assert long[:, 0].tolist() == [6, 9, 10, 11, 0, 1]
    assert said.select(np.array([1])).ids.tolist() == [7]


def test_without_the_label_every_clip_is_one():
    for clips in (made(), made(utterance=np.array([0, 0, -1, 1]))):
        said = utterances(clips)
        assert said.ids.tolist() == [0, 1, 2, 3]
        assert [rows.tolist() for rows in said.rows] == [[0], [1], [2], [3]]


def test_an_utterance_is_of_one_speaker():
    said = utterances(made(utterance=np.array([5, 5, 6, 6])))
    assert said.label([1, 1, 0, 0], "speaker").tolist() == [1, 0]
    with pytest.raises(InputError, match="speaker: got several of utterance 6"):
        said.label([1, 1, 0, 1], "speaker")
