"""The protocol of reconstructions: its rows are what the metrics give, with baselines, judges and without them."""

import dataclasses
import math

import lookers
import numpy as np
import pytest
import torch
from lookers import Colours, Corners, Handing, Late, Lookers, job, row, table, vectors, video

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.draws import base
from diffsda.evaluate.identity import average_euclidean_distance
from diffsda.evaluate.keypoints import average_keypoint_distance
from diffsda.evaluate.pixels import as_bytes
from diffsda.evaluate.protocols import reconstruction
from diffsda.evaluate.reconstruction import mse
from diffsda.evaluate.result import merge
from diffsda.tasks.reconstruct import reconstruct

METRICS = {"mse", "psnr", "aed", "akd"}


@pytest.fixture
def small(randomise):
    return lookers.network(lookers.VECTOR, randomise)


@pytest.fixture
def model():
    return Handing(0.1)


def doubled(x, lengths=None):
    """A first stage: every cell is four pixels."""
    return np.repeat(np.repeat(np.asarray(x), 2, axis=-1), 2, axis=-2)


def latent(off=0.0):
    """A model of latents."""
    return Handing(off, lookers.VIDEO.replace(clips={"latent": True}))


def test_known_errors():
    x = np.full((3, 8, 3, 16, 16), -0.5, np.float32)
    rows = reconstruction.run(job(Handing(0.2), Clips(x), video()))
    assert row(rows, "mse").values[0] == pytest.approx(0.01)
    assert row(rows, "psnr").values[0] == pytest.approx(20.0)
    # A fifth of the range is 25.5 of 255; three colours are off.
    found = row(rows, "aed")
    assert found.values[0] == pytest.approx(np.sqrt(3) * 25.5, abs=1)
    assert (found.count, found.missed, found.judge, found.substitute) == (24, 0.0, "colours", True)
    found = row(rows, "akd")
    assert (found.values[0], found.judge, found.substitute, found.unit) == (0.0, "corners", False, "pixels")


def test_pixels_out_of_range_are_cut_off():
    x = np.full((2, 8, 3, 16, 16), 1.0, np.float32)
    rows = reconstruction.run(job(Handing(5.0), Clips(x), video()))
    assert row(rows, "mse").values[0] == 0.0
    assert "infinite" in row(rows, "psnr").reason


def test_rows_are_what_the_metrics_give_of_a_real_model(randomise):
    clips, model = video(2), lookers.network(lookers.VIDEO, randomise)
    rows = reconstruction.run(job(model, clips, seed=3))
    for suffix, noise in (("", "own"), ("_fresh_noise", "fresh")):
        made = np.clip(reconstruct(model, clips, noise=noise, seed=base(3, "noise")), -1, 1)
        error = mse(made, clips.x) / 4
        assert row(rows, f"mse{suffix}").values[0] == pytest.approx(error, rel=1e-4)
        assert row(rows, f"psnr{suffix}").values[0] == pytest.approx(-10 * np.log10(error), abs=1e-3)
        frames = as_bytes(made), as_bytes(clips.x)
        aed = average_euclidean_distance(*(Colours().embed(f) for f in frames))
        assert row(rows, f"aed{suffix}").values[0] == pytest.approx(aed.value, rel=1e-3)
        akd = average_keypoint_distance(*(Corners().locate(f) for f in frames))
        assert row(rows, f"akd{suffix}").values[0] == pytest.approx(akd.value, rel=0.05)


def test_baselines_by_hand(model):
    clips, fit = video(), video(9, "train")
    rows = reconstruction.run(job(model, clips, fit))
    still = np.repeat(clips.x[:, :1], 8, axis=1)
    mean = np.broadcast_to(fit.x.mean((0, 1), dtype=np.float64), clips.x.shape)
    for words, made in (("first frame", still), ("mean frame", mean)):
        error = mse(made, clips.x) / 4
        assert row(rows, "mse", words, baseline=True).values[0] == pytest.approx(error, rel=1e-5)
        assert row(rows, "psnr", words, baseline=True).values[0] == pytest.approx(-10 * np.log10(error))
        aed = average_euclidean_distance(Colours().embed(as_bytes(made)), Colours().embed(as_bytes(clips.x)))
        assert row(rows, "aed", words, baseline=True).values[0] == pytest.approx(aed.value, abs=0.1)
    assert {r.metric for r in rows if r.baseline} == METRICS
    assert {r.metric for r in rows if not r.baseline} == METRICS | {f"{m}_fresh_noise" for m in METRICS}


def test_the_batch_does_not_matter():
    one, many = (table(reconstruction.run(job(Handing(0.1), video(5), batch=b, seed=7))) for b in (1, 64))
    assert one.keys() == many.keys()
    for key, value in one.items():
        assert many[key] == pytest.approx(value)


def test_seeds_change_fresh_noise_and_nothing_else():
    merged = merge([reconstruction.run(job(Handing(0.1), video(4), seed=seed)) for seed in (0, 100)])
    for one in merged:
        a, b = one.values
        assert (a != pytest.approx(b, rel=1e-6)) == one.metric.endswith("_fresh_noise")


def test_the_track_is_told_how_many_steps_there_are():
    told, gone = [], []

    def track(total):
        told.append(total)
        return lambda steps: (gone.append(step) or step for step in steps)

    reconstruction.run(job(Handing(), video(5), batch=2, track=track))
    assert told == [len(gone)] == [3 * 3 * 2]


def test_without_judges_the_other_rows_go_on(model):
    for shelf in (Lookers(), Lookers(faces=Late(), landmarks=Late())):
        rows = reconstruction.run(job(model, video(3), shelf=shelf, batch=2))
        for one in rows:
            judged = one.metric.startswith("a")
            assert math.isnan(one.values[0]) == judged
            assert ("pip install" in one.reason or "cannot fetch" in one.reason) == judged
            assert one.judge == ""


def test_nothing_found_is_told_and_never_zero(model):
    blind = Lookers(faces=Colours(dark=256), landmarks=Corners(dark=256))
    for as_published in (False, True):
        rows = reconstruction.run(job(model, video(2), shelf=blind, as_published=as_published))
        for one in (r for r in rows if r.metric.startswith("a")):
            assert math.isnan(one.values[0])
            assert (one.missed, one.judge != "") == (1.0, True)
            assert "in no frame" in one.reason


def test_as_published_failures_help():
    x = np.full((2, 8, 3, 16, 16), -0.5, np.float32)
    x[:, 1::2] = 0.5
    # The model makes all darker: what was light is still seen, what was dark is lost.
    seeing = Lookers(faces=Colours(dark=60), landmarks=Corners(dark=60))
    ours, theirs = (
        reconstruction.run(job(Handing(-0.2), Clips(x), video(), shelf=seeing, as_published=p)) for p in (False, True)
    )
    distance = np.sqrt(3) * 25.5
    for rows, value in ((ours, distance), (theirs, distance / 2)):
        found = row(rows, "aed")
        assert (found.values[0], found.missed) == (pytest.approx(value, abs=1), 0.5)
    # The first frame is a dark one, which is seen as it is: repeated, it is off by half the range where light ones are.
    for rows, value in ((ours, np.sqrt(3) * 127.5 / 2), (theirs, np.sqrt(3) * 127.5 / 2)):
        found = row(rows, "aed", "first frame", baseline=True)
        assert (found.values[0], found.missed) == (pytest.approx(value, abs=1), 0.0)


def half_lost():
    """Clips whose brightest pixel moves one to the right in the reconstruction, where that is seen: in every second."""
    x = np.full((2, 8, 3, 16, 16), -0.5, np.float32)
    x[:, 1::2] = 0.3
    x[..., 3, 5] = 1.0

    class Shifting(Handing):
        def reconstruct(self, x, lengths, **options):
            return torch.roll(super().reconstruct(x, lengths, **options), 1, dims=-1)

    return Shifting(-0.2), Clips(x)


def test_as_published_lost_points_count_as_found_for_faces_only():
    model, clips = half_lost()
    for kind, value in (("faces", 0.25), ("bodies", 0.5)):
        judge = "landmarks" if kind == "faces" else "bodies"
        held = {"shelf": Lookers(**{judge: Corners(dark=60)}), "options": {"kind": kind}}
        plain, published = (reconstruction.run(job(model, clips, as_published=p, **held)) for p in (False, True))
        assert (row(plain, "akd").values[0], row(plain, "akd").missed) == (1.0, 0.5)
        assert (row(published, "akd").values[0], row(published, "akd").missed) == (value, 0.5)


def test_as_published_lost_bodies_are_left_out():
    x = np.full((2, 8, 3, 16, 16), -0.5, np.float32)
    x[:, 1::2] = 0.5
    held = {"shelf": Lookers(people=Colours(dark=60)), "options": {"kind": "bodies"}, "as_published": True}
    found = row(reconstruction.run(job(Handing(-0.2), Clips(x), video(), **held)), "aed")
    assert (found.values[0], found.missed) == (pytest.approx(3 * 25.5**2, rel=0.05), 0.5)


def test_bodies_have_judges_of_their_own(model):
    shelf = Lookers(people=Colours(), bodies=Corners())
    clips = video(2)
    plain, published = (
        reconstruction.run(job(model, clips, shelf=shelf, options={"kind": "bodies"}, as_published=p))
        for p in (False, True)
    )
    still = np.repeat(clips.x[:, :1], 8, axis=1)
    seen = [Colours().embed(as_bytes(x)) for x in (still, clips.x)]
    for rows, squared in ((plain, False), (published, True)):
        expected = average_euclidean_distance(*seen, squared=squared).value
        assert row(rows, "aed", "first frame", baseline=True).values[0] == pytest.approx(expected)


def test_as_published_bodies_are_told_apart_by_the_published_judge(model):
    class Published(Colours):
        name = "colours, as published"

    shelf = Lookers(people=Colours(), people_as_published=Published())
    for as_published, name in ((False, "colours"), (True, "colours, as published")):
        rows = reconstruction.run(
            job(model, video(2), shelf=shelf, options={"kind": "bodies"}, as_published=as_published)
        )
        assert row(rows, "aed").judge == name


def test_what_never_differs_has_no_decibels(model):
    still = Clips(np.repeat(video(2).x[:, :1], 8, axis=1))
    found = row(reconstruction.run(job(model, still)), "psnr", "first frame", baseline=True)
    assert math.isnan(found.values[0])
    assert "infinite" in found.reason


def test_judges_see_the_size_they_are_given(model):
    sizes = []

    class Curious(Colours):
        def embed(self, frames):
            sizes.append(frames.shape[1:3])
            return super().embed(frames)

    reconstruction.run(job(model, video(2), shelf=Lookers(faces=Curious()), options={"size": 32}))
    assert set(sizes) == {(32, 32)}


def test_vectors_are_compared_in_the_models_units(small):
    lengths = np.array([6, 2, 4, 6, 3, 5])
    clips = vectors(lengths=lengths)
    rows = reconstruction.run(job(small, clips, back=lambda x, n: 1000 * x))
    made = reconstruct(small, clips)
    assert row(rows, "mse").values[0] == pytest.approx(mse(made, clips.x, lengths), rel=1e-4)
    assert {r.metric for r in rows} == {"mse", "mse_fresh_noise"}
    mean = sum(x[:n].sum(0) for x, n in zip(clips.x, lengths, strict=True)) / lengths.sum()
    expected = mse(np.broadcast_to(mean, clips.x.shape), clips.x, lengths)
    assert row(rows, "mse", "mean frame", baseline=True).values[0] == pytest.approx(expected, rel=1e-5)


def test_missing_values_are_not_compared(small):
    clips = vectors(3)
    gone = (np.random.default_rng(1).random(clips.x.shape) < 0.3).astype(np.float32)
    clips = dataclasses.replace(clips, x=np.where(gone == 1, 0, clips.x), mask=gone)
    rows = reconstruction.run(job(small, clips))
    assert row(rows, "mse").values[0] == pytest.approx(mse(reconstruct(small, clips), clips.x, None, gone), rel=1e-4)
    still = np.broadcast_to(clips.x[:, :1], clips.x.shape)
    found = row(rows, "mse", "first frame", baseline=True).values[0]
    assert found == pytest.approx(mse(still, clips.x, None, gone), rel=1e-5)


def test_latents_nobody_can_look_at():
    rows = reconstruction.run(job(latent(), video(2)))
    assert row(rows, "mse").unit.startswith("model's units")
    judged = [r for r in rows if not r.metric.startswith("mse")]
    assert len(judged) == 12
    assert all(math.isnan(r.values[0]) and "first stage" in r.reason for r in judged)


def test_the_first_stage_has_a_row_of_its_own():
    clips, off = video(3), latent(0.05)
    pixels = np.clip(doubled(clips.x) + 0.1, -1, 1).astype(np.float32)
    rows = reconstruction.run(job(off, clips, back=doubled, originals=pixels))
    expected = mse(doubled(clips.x), pixels) / 4
    assert row(rows, "mse", "first stage alone", baseline=True).values[0] == pytest.approx(expected, rel=1e-5)
    own = np.clip(doubled(clips.x + 0.05), -1, 1)
    assert row(rows, "mse").values[0] == pytest.approx(mse(own, pixels) / 4, rel=1e-4)
    without = reconstruction.run(job(off, clips, back=doubled))
    assert not [r for r in without if "first stage" in r.about]
    assert row(without, "mse").values[0] == pytest.approx(mse(own, doubled(clips.x)) / 4, rel=1e-4)


def test_inputs_that_do_not_fit(model):
    with pytest.raises(InputError, match="kind: got 'cats'"):
        reconstruction.run(job(model, video(2), options={"kind": "cats"}))
    with pytest.raises(InputError, match="first stage as well"):
        reconstruction.run(job(latent(), video(2), originals=video(2).x))
    with pytest.raises(InputError, match="the pixels of the test part"):
        reconstruction.run(job(model, video(2), originals=video(3).x))
    with pytest.raises(InputError, match="beyond"):
        reconstruction.run(job(model, video(2), originals=255 * video(2).x))
