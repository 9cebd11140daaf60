"""swap-video and verification: what perfect swaps, copies and blind judges come to, and where swaps start."""

import dataclasses
import math

import numpy as np
import pytest
from protocol_jobs import (
    DYNAMIC,
    Blind,
    Identity,
    Points,
    Stand,
    Swapper,
    counted,
    job,
    one,
    painted,
    shapes_job,
    values,
)

from diffsda.data.synthetic.series import series
from diffsda.errors import InputError
from diffsda.evaluate.draws import base
from diffsda.evaluate.protocols import faces, verification
from diffsda.evaluate.protocols.swaps import Part, aligned, frames_of, policies, swapped
from diffsda.evaluate.result import merge

AED, AKD, SAME = "aed_static_frozen", "akd_dynamics_frozen", "verification_static_frozen"
ACTION = verification.METRIC


def test_perfect_swaps_are_no_distance_away():
    rows = faces.run(job(Swapper("perfect")))
    assert values(rows) == {AED: 0, AKD: 0, SAME: 1}
    assert one(rows, AED).count == 20 * 4
    assert one(rows, AED).missed == 0
    assert (one(rows, AED).judge, one(rows, AED).substitute) == ("paint identity", True)


@pytest.mark.parametrize(("how", "words"), [("static", "static donor"), ("dynamics", "dynamics donor")])
def test_a_model_that_copies_is_a_copy_row(how, words):
    rows = faces.run(job(Swapper(how)))
    copies = values(rows, baseline=True, about=f"a copy of the {words}")
    assert values(rows) == copies
    assert copies[AED] == 0 if how == "static" else copies[AED] > 0.1
    assert copies[AKD] == 0 if how == "dynamics" else copies[AKD] > 1
    assert copies[SAME] == (1 if how == "static" else 0)


def test_the_distance_to_the_other_donor_by_hand():
    given = job(Swapper("dynamics"), pairs=(np.array([0]), np.array([95])))
    x, y = given.test.x[0], given.test.x[95]
    to_byte = [np.round((clip[0, 0, 0].astype(float) + 1) * 127.5) / 255 for clip in (x, y)]
    wanted = np.linalg.norm(to_byte[0][:4] - to_byte[1][:4])
    assert one(faces.run(given), AED).values[0] == pytest.approx(wanted, rel=1e-12)


def test_blind_judges_miss_everything_and_say_so():
    rows = faces.run(job(Swapper("perfect"), Stand(faces=Blind(), landmarks=Blind())))
    assert len(rows) == 9
    for row in rows:
        assert math.isnan(row.values[0])
        assert row.missed == 1
        assert "in no frame" in row.reason


def test_without_a_judge_the_other_rows_go_on():
    rows = faces.run(job(Swapper("perfect"), Stand(landmarks=Points())))
    assert one(rows, AKD).values == (0.0,)
    for metric in (AED, SAME):
        assert math.isnan(one(rows, metric).values[0])
        assert "pip install faces" in one(rows, metric).reason
    nobody = faces.run(job(model := Swapper("perfect"), Stand()))
    assert all(math.isnan(row.values[0]) for row in nobody)
    assert not model.calls


def test_an_identity_without_a_threshold_verifies_nobody():
    judge = Identity()
    judge.threshold = math.nan
    rows = faces.run(job(Swapper("perfect"), Stand(faces=judge)))
    assert one(rows, AED).values == (0.0,)
    assert "gives no distance below which" in one(rows, SAME).reason


def test_bodies_have_judges_of_their_own():
    shelf = Stand(people=Identity(), bodies=Points(), faces=Blind(), landmarks=Blind())
    rows = faces.run(job(Swapper("perfect"), shelf, options={"pairs": 5, "kind": "bodies"}))
    assert values(rows) == {AED: 0, AKD: 0, SAME: 1}
    with pytest.raises(InputError, match="kind: got 'hands'"):
        faces.run(job(Swapper("perfect"), options={"kind": "hands"}))


def test_every_start_noise_has_its_rows_and_the_first_counts():
    model = Swapper("perfect")
    rows = faces.run(job(model, options={"pairs": 5, "noises": ("fresh", "dynamic")}))
    assert set(values(rows)) == {AED, AKD, SAME, f"{AED}_fresh_noise", f"{AKD}_fresh_noise", f"{SAME}_fresh_noise"}
    assert [noise for noise, _ in model.calls] == ["dynamic", "dynamic", "fresh", "fresh"]
    with pytest.raises(InputError, match="noises: got 'loud'"):
        policies(job(model, options={"noises": ("loud",)}))


def test_as_published_both_swaps_start_from_the_code_of_x():
    model = Swapper("perfect")
    assert set(values(faces.run(job(model, as_published=True, options={"pairs": 5})))) == {AED, AKD, SAME}
    assert [noise for noise, _ in model.calls] == ["static", "dynamic"]
    body = Swapper("perfect")
    shelf = Stand(people=Identity(), bodies=Points())
    rows = faces.run(job(body, shelf, as_published=True, options={"pairs": 5, "kind": "bodies"}))
    assert [noise for noise, _ in body.calls] == ["dynamic", "dynamic"]
    # The distance is squared, that of copies too.
    plain = faces.run(job(Swapper("dynamics"), shelf, options={"pairs": 5, "kind": "bodies"}))
    rows = faces.run(job(Swapper("dynamics"), shelf, as_published=True, options={"pairs": 5, "kind": "bodies"}))
    assert one(rows, AED).values[0] < one(plain, AED).values[0] < 1


def test_as_published_bodies_are_told_apart_by_the_published_judge():
    shelf = Stand(people=Blind(), people_as_published=Identity(), bodies=Points())
    plain, published = (
        faces.run(job(Swapper("perfect"), shelf, as_published=p, options={"pairs": 5, "kind": "bodies"}))
        for p in (False, True)
    )
    assert (one(plain, AED).judge, one(plain, AED).missed) == ("blind", 1)
    assert (one(published, AED).judge, one(published, AED).values) == ("paint identity", (0.0,))


def test_seeds_of_swaps_do_not_depend_on_the_batch():
    seeds = []
    for batch in (7, 20):
        model = Swapper("perfect")
        faces.run(job(model, batch=batch, seed=3))
        seeds.append([seed for _, own in model.calls for seed in own])
    start = base(3, "noise")
    assert seeds[0] == seeds[1] == [*range(start, start + 20)] * 2


def test_which_donor_lends_what():
    given = job(Swapper("perfect"))
    first, second = np.array([0, 5]), np.array([90, 33])
    (kept,) = swapped(given, (first, second), "fresh", "static")
    (moved,) = swapped(given, (first, second), "fresh", "dynamics")
    np.testing.assert_array_equal(kept.x[..., :4], given.test.x[first][..., :4])
    np.testing.assert_array_equal(kept.x[..., 4:], given.test.x[second][..., 4:])
    np.testing.assert_array_equal(moved.x[..., :4], given.test.x[second][..., :4])
    np.testing.assert_array_equal(moved.x[..., 4:], given.test.x[first][..., 4:])


def test_work_is_announced_once_a_kind_of_swap():
    seen, track = counted()
    faces.run(job(Swapper("perfect"), track=track))
    # 20 swaps of 7 at a time, 3 steps there and 3 back, for either factor.
    assert (seen.tracks, seen.total) == (2, 2 * 3 * 6)


def test_frames_are_bytes_in_order_at_the_size_judges_want():
    x = np.linspace(-1, 1, 2 * 3 * 3 * 4 * 4).reshape(2, 3, 3, 4, 4)
    frames, counts = frames_of(Part(x, np.array([2, 3])))
    assert frames.shape == (5, 4, 4, 3)
    assert counts.tolist() == [2, 3]
    np.testing.assert_array_equal(frames[2], np.round((np.moveaxis(x[1, 0], 0, -1) + 1) * 127.5))
    assert frames_of(Part(x, None), size=8)[0].shape == (6, 8, 8, 3)
    flat = np.full((1, 2, 3, 8, 8), 0.5)
    np.testing.assert_array_equal(frames_of(Part(flat, None), size=3)[0], 191)
    with pytest.raises(InputError, match="looks at pictures"):
        frames_of(Part(np.zeros((1, 2, 3)), None))


def test_clips_of_unlike_length_are_compared_as_far_as_both_go():
    a, b = aligned([np.arange(3), np.arange(2)], [np.arange(5) * 10, np.arange(1) * 10])
    assert a.tolist() == [0, 1, 2, 0]
    assert b.tolist() == [0, 10, 20, 0]


def test_clips_that_are_no_video_are_refused():
    clips = series(8, seed=0)
    with pytest.raises(InputError, match="pictures are compared"):
        faces.run(job(Swapper("perfect"), test=clips, static=(), dynamic=()))


def test_latents_without_their_first_stage_are_refused():
    model = Swapper("perfect")
    model.recipe = model.recipe.replace(clips={"latent": True})
    with pytest.raises(InputError, match="name the first stage"):
        faces.run(job(model))


def test_originals_are_what_swaps_are_compared_with():
    clips = painted()
    given = job(Swapper("perfect"), options={"pairs": 5}, originals=clips.x[::-1].copy())
    assert values(faces.run(given))[AED] > 0.05
    with pytest.raises(InputError, match="originals: got 3 clips"):
        faces.run(job(Swapper("perfect"), options={"pairs": 5}, originals=clips.x[:3]))


def test_verification_adds_what_a_reader_makes_of_actions():
    rows = verification.run(job(Swapper("perfect")))
    found = values(rows)
    each = {f"{name}_read_dynamics_frozen" for name in DYNAMIC}
    assert set(found) == {AED, AKD, SAME, ACTION, *each}
    assert all(found[name] == 1 for name in (SAME, ACTION, *each))
    assert values(rows, baseline=True, about="chance") == {ACTION: pytest.approx(1 / 6)}
    assert one(rows, ACTION, baseline=True, about="copy of the dynamics").values == (1.0,)
    assert one(rows, ACTION, baseline=True, about="copy of the static").values == (0.0,)
    copied = verification.run(job(Swapper("static")))
    assert one(copied, ACTION).values == (0.0,)


def test_the_reader_is_trained_on_the_dynamic_labels_of_the_fitting_part():
    shelf, fit = Stand(), painted().select(range(0, 96, 1))
    verification.run(job(Swapper("perfect"), shelf, fit=fit, seed=4))
    ((clips, labels, names, seed),) = shelf.fits
    np.testing.assert_array_equal(clips, fit.x)
    assert set(labels) == set(DYNAMIC)
    assert (names, seed) == ({}, 0)


def test_without_dynamic_labels_the_rest_of_verification_goes_on():
    rows = verification.run(job(Swapper("perfect"), dynamic=()))
    assert values(rows)[AED] == 0
    assert "no dynamic labels" in one(rows, ACTION).reason


def test_a_reader_of_other_classes_is_refused():
    with pytest.raises(InputError, match="reads 2 classes of action; expected 3 or more"):
        verification.run(job(Swapper("perfect"), Stand(fewer=1)))
    few = painted().select(painted().labels["action"] < 2)
    with pytest.raises(InputError, match="label action: got 1 values in the test part that no clip"):
        verification.run(job(Swapper("perfect"), fit=few))


def test_a_real_model_on_moving_shapes_end_to_end():
    runs = [verification.run(shapes_job(seed=seed)) for seed in (0, 1)]
    rows = merge(runs)
    for metric in (AED, AKD, SAME, ACTION):
        assert all(math.isfinite(value) for value in one(rows, metric).values)
    # Seeds draw other pairs and other noise; the same seed the same.
    assert one(rows, AED).values[0] != one(rows, AED).values[1]
    again = verification.run(shapes_job(seed=0, batch=3))
    assert one(again, AED).values[0] == pytest.approx(one(rows, AED).values[0], rel=1e-6)
    assert dataclasses.replace(one(rows, AED), values=(0.0,)).missed == 0
