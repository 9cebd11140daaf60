"""Clips of different lengths, missing values, windows brought to the front: padding and holes change nothing."""

import pytest
import torch
from small_dbse import clips, made

from diffsda.baselines.dbse.loss import negative_log_likelihood
from diffsda.baselines.draws import fresh, recorded
from diffsda.errors import InputError

LENGTHS = torch.tensor([5, 3, 2])
frames = pytest.mark.parametrize("kind", ["video", "upsampling", "audio"])


def padded(kind, filling):
    x = clips(kind)[:, :5].clone()
    for clip, length in zip(x, LENGTHS):
        clip[length:] = filling
    return x


@frames
@torch.no_grad()
def test_padding_changes_no_code(kind):
    model = made(kind)
    first, second = (model.encode(padded(kind, v), LENGTHS) for v in (0.0, 1.0))
    assert torch.equal(first.static, second.static)
    assert torch.equal(first.dynamic, second.dynamic)
    for i, length in enumerate(LENGTHS):
        alone = model.encode(padded(kind, 0.0)[i : i + 1, :length])
        assert torch.allclose(alone.static[0], first.static[i], atol=1e-5)
        assert torch.allclose(alone.dynamic[0], first.dynamic[i, :length], atol=1e-5)
        assert not first.dynamic[i, length:].any()


@frames
@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_no_loss(kind, training):
    def terms(filling):
        model = made(kind).train(training)
        given = model.loss(padded(kind, filling), LENGTHS, torch.Generator().manual_seed(0))
        return given.to_dict(), dict(model.named_buffers())

    (first, buffers), (second, others) = terms(0.0), terms(1.0)
    assert first == pytest.approx(second, rel=1e-6)
    assert all(torch.equal(v, others[k]) for k, v in buffers.items())


@frames
@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_draws_for_padding_change_no_loss(kind, training):
    x, held = padded(kind, 0.0), {"s": torch.randn(3, 5), "slot": torch.randn(3, 9 if kind == "audio" else 8)}

    def terms(eps):
        model = made(kind).train(training)
        given = model.loss(x, LENGTHS, draws=recorded(held | {"d": eps}))
        return given.to_dict(), dict(model.named_buffers())

    eps = torch.randn(3, 5, 4)
    others = eps.clone()
    for row, length in zip(others, LENGTHS):
        row[length:] = 2.0
    (first, buffers), (second, statistics) = terms(eps), terms(others)
    assert first == pytest.approx(second, rel=1e-6)
    assert all(torch.equal(v, statistics[k]) for k, v in buffers.items())


@frames
@torch.no_grad()
def test_the_loss_of_padded_clips_is_the_mean_of_theirs_alone(kind):
    model, x = made(kind), padded(kind, 0.0)
    eps = {"s": torch.randn(3, 5), "d": torch.randn(3, 5, 4)}
    whole = model.loss(x, LENGTHS, draws=recorded(eps)).to_dict()
    alone = []
    for i, length in enumerate(LENGTHS):
        own = {"s": eps["s"][i : i + 1], "d": eps["d"][i : i + 1, :length]}
        alone.append(model.loss(x[i : i + 1, :length], draws=recorded(own)).to_dict())
    assert whole == pytest.approx({k: sum(a[k] for a in alone) / 3 for k in whole}, rel=1e-5)


@frames
def test_the_loss_of_whole_clips_with_lengths_is_that_without(kind):
    model, x = made(kind), clips(kind)
    whole = torch.full((3,), x.shape[1])
    first, second = (model.loss(x, n, torch.Generator().manual_seed(0)).to_dict() for n in (None, whole))
    assert first == pytest.approx(second, rel=1e-5)


@torch.no_grad()
def test_padded_steps_of_a_series_count_as_missing():
    model, x, lengths = made("series"), clips("series"), torch.tensor([20, 13, 4])
    mask = torch.zeros_like(x)
    for row, length in zip(mask, lengths):
        row[length:] = 1
    by_lengths, by_mask = model.encode(x, lengths), model.encode(x, mask=mask)
    assert torch.equal(by_lengths.dynamic, by_mask.dynamic)
    holes = torch.zeros_like(x)
    holes[:, 6] = 1
    together = model.encode(x, lengths, mask=holes).dynamic
    assert torch.equal(together, model.encode(x, mask=torch.maximum(mask, holes)).dynamic)
    assert not torch.equal(together, by_lengths.dynamic)
    assert not torch.equal(by_lengths.dynamic, model.encode(x).dynamic)
    one, other = (torch.where(mask.bool(), v, x) for v in (0.0, 5.0))
    assert torch.equal(model.encode(one, lengths).dynamic, model.encode(other, lengths).dynamic)
    draws = [fresh(torch.Generator().manual_seed(0)) for _ in range(2)]
    losses = [model.loss(v, lengths, draws=d).to_dict() for v, d in zip((one, other), draws)]
    assert losses[0] == losses[1]


def test_missing_values_count_only_as_published():
    mean, scale = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    x, missing = torch.tensor([[[1.0, 9.0], [1.0, float("nan")]]]), torch.tensor([[[0, 1], [0, 1]]])
    known = negative_log_likelihood(x[..., :1], mean[..., :1], scale[..., :1])
    assert float(negative_log_likelihood(x, mean, scale, missing)) == pytest.approx(float(known))
    counted = negative_log_likelihood(x, mean, scale, missing, count_missing=True)
    assert float(counted) == pytest.approx(float(known) / 2)
    assert float(negative_log_likelihood(x, mean, scale, torch.ones_like(missing))) == 0.0
    centre = torch.zeros(1, 2, 2, requires_grad=True)
    negative_log_likelihood(x, centre, scale, missing).backward()
    assert centre.grad.tolist() == [[[-0.5, 0.0], [-0.5, 0.0]]]


@torch.no_grad()
def test_a_missing_first_step_has_no_likelihood_unless_as_published():
    x = clips("series")
    mask = torch.zeros_like(x)
    mask[:, 0] = 1
    for as_published in (False, True):
        model = made("series", as_published=as_published)
        single = float(model.loss(x, mask=mask).terms["single"])
        assert (single == 0.0) is not as_published
        assert float(model.loss(x).terms["single"]) != 0.0


@torch.no_grad()
def test_the_slot_holds_noise_in_training_and_as_published_only():
    x, held = clips("audio"), {"s": torch.randn(3, 5), "d": torch.randn(3, 7, 4)}
    made("audio").loss(x, draws=recorded(held))
    for model in (made("audio").train(), made("audio", as_published=True), made("audio", slot="noise")):
        with pytest.raises(InputError, match="'slot' was asked for"):
            model.loss(x, draws=recorded(held))


@torch.no_grad()
def test_the_window_in_front_is_the_same_as_shifted_clips():
    model, x = made("series, third window"), clips("series")
    front = made("series")
    turned = x.roll(-8, 1)
    assert torch.equal(model.encode(x).static, front.encode(turned).static)
    assert torch.equal(model.encode(x).dynamic, front.encode(turned).dynamic.roll(2, 1))
    published = made("series, third window", as_published=True, slot="zeros")
    in_front = made("series", as_published=True, slot="zeros")
    assert torch.equal(published.encode(x).dynamic, in_front.encode(turned).dynamic)
    drawn = [m.sample_dynamic(2, 5, torch.Generator().manual_seed(0)) for m in (model, front)]
    assert torch.equal(drawn[0], drawn[1].roll(2, 1))


@torch.no_grad()
def test_a_series_drawn_with_the_same_noise_is_the_same_in_any_batch():
    model = made("series")
    f = model.encode(clips("series"))
    whole = model.decode(f, seed=4)
    assert torch.allclose(model.decode(f[1], seed=5), whole[1:2], atol=1e-6)
    assert not torch.allclose(model.decode(f, seed=9), whole, atol=1e-4)
    with pytest.raises(InputError, match="noise"):
        model.decode(f, noise=torch.zeros(3, 5, 3, 32))


@pytest.mark.parametrize(("kind", "steps"), [("series", 18), ("series, third window", 8)])
def test_series_must_be_whole_windows(kind, steps):
    with pytest.raises(InputError, match="whole windows of 4"):
        made(kind).encode(torch.zeros(2, steps, 3))


def test_recorded_draws_are_refused_by_name_and_shape():
    like = torch.zeros(1)
    draws = recorded({"s": torch.ones(2, 3)})
    assert torch.equal(draws("s", (2, 3), like), torch.ones(2, 3))
    with pytest.raises(InputError, match="'d' was asked for, the recording holds s"):
        draws("d", (2, 3), like)
    with pytest.raises(InputError, match=r"got s \(2, 3\), expected \(3, 2\)"):
        draws("s", (3, 2), like)


@torch.no_grad()
def test_a_clip_that_ends_before_the_static_code_begins_is_refused():
    model, x = made("series, third window"), clips("series")
    model.encode(x, torch.tensor([20, 9, 12]))
    for read in (model.encode, model.loss):
        with pytest.raises(InputError, match=r"lengths: got a clip of 8 frames, .* more than 8: .*frames 8 to 11"):
            read(x, torch.tensor([20, 8, 12]))
    made("series").encode(x, torch.tensor([20, 2, 12]))
