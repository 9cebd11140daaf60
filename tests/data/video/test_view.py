"""What is taken of a video: as planned, within the video, the same for the same take."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.stream import Take
from diffsda.data.video.view import Plan, View
from diffsda.errors import InputError

VIEWS = st.builds(
    View,
    frames=st.integers(1, 20),
    size=st.just(32),
    stride=st.integers(1, 9),
    window=st.sampled_from(["run", "anywhere"]),
    flip=st.booleans(),
    reverse=st.booleans(),
    jitter=st.sampled_from([0.0, 0.1, 0.5]),
)
SEEDS = st.none() | st.integers(0, 2**62)


@given(VIEWS, st.integers(0, 200), st.integers(0, 10**6), SEEDS)
def test_plans_lie_within_the_video(view, more, item, seed):
    frames = view.frames + more
    plan = view.plan(Take(item, seed), frames)
    rising = plan.indices[::-1] if plan.backwards else plan.indices
    assert len(rising) == view.frames
    assert list(rising) == sorted(set(rising)), "distinct, in order"
    assert rising[0] >= 0
    assert rising[-1] < frames
    assert plan == view.plan(Take(item, seed), frames)
    if view.window == "run":
        steps = {b - a for a, b in pairwise(rising)}
        assert steps <= {min(view.stride, max(1, (frames - 1) // max(view.frames - 1, 1)))}
    if not view.jitter:
        assert not plan.recoloured


@given(VIEWS, st.integers(0, 50))
def test_the_fixed_view_begins_at_0_and_changes_nothing(view, more):
    plan = view.plan(Take(3), view.frames + more)
    assert plan.indices[0] == 0
    assert plan == Plan(plan.indices)
    assert not plan.backwards


def test_the_stride_shrinks_in_short_videos():
    view = View(frames=5, size=8, stride=4)
    assert view.plan(Take(0), 100).indices == (0, 4, 8, 12, 16)
    assert view.plan(Take(0), 17).indices == (0, 4, 8, 12, 16)
    assert view.plan(Take(0), 16).indices == (0, 3, 6, 9, 12)
    assert view.plan(Take(0), 5).indices == (0, 1, 2, 3, 4)


def test_a_video_that_is_too_short_is_named():
    with pytest.raises(InputError, match=r"walk\.mp4: got 4 frames, expected at least 5"):
        View(frames=5, size=8).plan(Take(0), 4, "walk.mp4")


def test_anywhere_is_anywhere():
    view = View(frames=4, size=8, window="anywhere")
    taken = {i for seed in range(200) for i in view.plan(Take(0, seed), 30).indices}
    assert taken == set(range(30))
    assert view.plan(Take(0), 31).indices == (0, 10, 20, 30)


def test_a_run_starts_anywhere_it_fits():
    view = View(frames=4, size=8, stride=3)
    assert {view.plan(Take(0, seed), 15).indices[0] for seed in range(200)} == set(range(6))


def test_options_do_not_change_what_others_draw():
    plain = View(frames=6, size=8, stride=2)
    changed = View(frames=6, size=8, stride=2, flip=True, reverse=True, jitter=0.1)
    plans = [(plain.plan(Take(i, 7), 40), changed.plan(Take(i, 7), 40)) for i in range(64)]
    assert all(sorted(a.indices) == sorted(b.indices) for a, b in plans)
    mirrored, backwards = (sum(getattr(b, name) for _, b in plans) for name in ("mirror", "backwards"))
    assert 16 < mirrored < 48
    assert 16 < backwards < 48
    assert sum(b.mirror == b.backwards for _, b in plans) not in (0, 64)
    assert not any(a.mirror or a.backwards or a.recoloured for a, _ in plans)


def test_jitter_is_as_large_as_it_says():
    plans = [View(frames=2, size=8, jitter=0.1).plan(Take(i, 0), 9) for i in range(200)]
    for name in ("brightness", "contrast", "saturation"):
        values = [getattr(plan, name) for plan in plans]
        assert 0.9 <= min(values) < 0.91
        assert 1.09 < max(values) <= 1.1
    assert -36 <= min(p.hue for p in plans) < -33
    assert 33 < max(p.hue for p in plans) <= 36


def test_items_and_seeds_draw_differently():
    view = View(frames=5, size=8)
    by_item = {view.plan(Take(i, 1), 1000).indices for i in range(50)}
    by_seed = {view.plan(Take(1, i), 1000).indices for i in range(50)}
    assert min(len(by_item), len(by_seed)) > 45


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"frames": 0}, "frames: got 0"),
        ({"frames": 2.0}, "frames: got 2.0"),
        ({"size": -1}, "size: got -1"),
        ({"stride": 0}, "stride: got 0"),
        ({"stride": True}, "stride: got True"),
        ({"window": "all"}, "window: got 'all', expected one of run, anywhere"),
        ({"jitter": 0.6}, "jitter: got 0.6"),
        ({"jitter": float("nan")}, "jitter: got nan"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        View(**{"frames": 4, "size": 8} | wrong)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed: got -1"):
        View(frames=2, size=8).plan(Take(0, -1), 9)
