"""Files are dealt to splits as asked: the same each time, equal files together."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.video.dealing import deal
from diffsda.errors import InputError


def files(count):
    return {f"{i}.mp4": f"digest {i}" for i in range(count)}


@given(st.integers(0, 60), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 9))
def test_shares_are_kept(count, val, test, seed):
    dealt = deal(files(count), val, test, seed)
    assert dealt.keys() == files(count).keys()
    assert dealt == deal(dict(reversed(files(count).items())), val, test, seed)
    counts = Counter(dealt.values())
    if count:
        assert counts["train"] >= 1
    if count >= 3:
        assert counts["test"] == (max(1, round(test * count)) if test else 0)
        assert counts["val"] == (max(1, round(val * count)) if val else 0)


def test_seeds_deal_differently():
    assert deal(files(40), 0.2, 0.2, 0) != deal(files(40), 0.2, 0.2, 1)


@given(st.lists(st.integers(0, 8), min_size=4, max_size=40), st.integers(0, 5))
def test_equal_files_stay_together(digests, seed):
    dealt = deal({f"{i}.mp4": str(d) for i, d in enumerate(digests)}, 0.2, 0.2, seed)
    splits = {}
    for i, digest in enumerate(digests):
        splits.setdefault(digest, set()).add(dealt[f"{i}.mp4"])
    assert all(len(found) == 1 for found in splits.values())


def test_a_file_more_moves_few_others():
    before, after = deal(files(200), 0.1, 0.1, 0), deal(files(201), 0.1, 0.1, 0)
    assert sum(before[key] != after[key] for key in before) <= 4


@pytest.mark.parametrize(
    ("val", "test", "words"),
    [(1.0, 0.0, "val_share: got 1.0"), (0.0, -0.1, "test_share: got -0.1"), (0.5, 0.5, "expected a sum below 1")],
)
def test_shares_that_leave_nothing_are_refused(val, test, words):
    with pytest.raises(InputError, match=words):
        deal(files(9), val, test, 0)
