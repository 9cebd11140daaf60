"""What DBSE promises whatever the data: one element makes the static code, what all share makes no dynamics."""

import pytest
import torch
from small_dbse import SETTINGS, clips, each, made

from diffsda.baselines.dbse.authors import build
from diffsda.errors import InputError
from diffsda.factors import Factors


def single_steps(kind):
    """Return which frames or steps the static code is made of."""
    settings = SETTINGS[kind]
    window = getattr(settings, "window", 1)
    start = getattr(settings, "single", 0) * window
    return slice(start, start + window)


@each
def test_shapes(kind):
    model, x = made(kind), clips(kind)
    f = model.encode(x)
    assert tuple(f.static.shape) == (3, 5)
    assert tuple(f.dynamic.shape) == (3, 5 if x.ndim == 5 or "series" in kind else 7, 4)
    assert model.reconstruct(x).shape == x.shape
    assert model.with_new_static(x).shape == model.with_new_dynamics(x).shape == x.shape


@each
@torch.no_grad()
def test_the_static_code_sees_one_element_only(kind):
    model, x = made(kind), clips(kind)
    others = torch.rand_like(x)
    others[:, single_steps(kind)] = x[:, single_steps(kind)]
    before, after = model.encode(x), model.encode(others)
    assert torch.equal(before.static, after.static)
    assert not torch.allclose(before.dynamic, after.dynamic, atol=1e-3)
    changed = x.clone()
    changed[:, single_steps(kind)] = others.flip(1)[:, single_steps(kind)] + 0.3
    assert not torch.allclose(before.static, model.encode(changed).static, atol=1e-4)


@torch.no_grad()
def test_as_published_audio_leaks_the_chunk_into_the_static_code():
    model, x = made("audio", as_published=True), clips("audio")
    others = torch.rand_like(x)
    others[:, 0] = x[:, 0]
    assert not torch.allclose(model.encode(x).static, model.encode(others).static, atol=1e-4)


def shifted(model, by):
    """Add a constant to every frame's features."""
    name = {"VideoDBSE": "frame", "AudioDBSE": "frame_out", "SeriesDBSE": "steps"}[type(model).__name__]
    return getattr(model, name).register_forward_hook(lambda _m, _i, out: out + by)


@each
@torch.no_grad()
def test_what_all_frames_share_makes_no_dynamics(kind):
    model, x = made(kind), clips(kind)
    before = model.encode(x)
    shifted(model, torch.randn(1))
    after = model.encode(x)
    assert torch.allclose(before.dynamic, after.dynamic, atol=1e-5)
    assert not torch.allclose(before.static, after.static, atol=1e-3)


@torch.no_grad()
def test_as_published_series_keep_what_all_steps_share():
    model, x = made("series", as_published=True, slot="zeros"), clips("series")
    before = model.encode(x).dynamic
    shifted(model, 0.5)
    assert not torch.allclose(before, model.encode(x).dynamic, atol=1e-3)


@each
@torch.no_grad()
def test_codes_are_the_same_each_time_unless_as_published(kind):
    x = clips(kind)
    model, published = made(kind), made(kind, as_published=True)
    assert torch.equal(model.encode(x).dynamic, model.encode(x).dynamic)
    assert not torch.equal(published.encode(x).dynamic, published.encode(x).dynamic)
    again = [published.encode(x, generator=torch.Generator().manual_seed(3)).dynamic for _ in range(2)]
    assert torch.equal(*again)


@each
@torch.no_grad()
def test_swapping_with_oneself_is_reconstruction(kind):
    model, x = made(kind), clips(kind)
    assert torch.equal(model.swap(x, x), model.reconstruct(x))
    mixed = model.swap(x, x.flip(0))
    assert torch.equal(mixed[1], model.swap(x, x)[1])
    assert not torch.allclose(mixed[0], model.reconstruct(x)[0], atol=1e-5)


@each
def test_every_term_reaches_the_weights(kind):
    model = made(kind).train()
    terms = model.loss(clips(kind), generator=torch.Generator().manual_seed(0))
    assert all(weight > 0 for weight in terms.weights.values())
    touched = set()
    for name, term in terms.terms.items():
        model.zero_grad()
        term.backward(retain_graph=True)
        grads = {k for k, p in model.named_parameters() if p.grad is not None and float(p.grad.norm()) > 0}
        assert grads, name
        touched |= grads
    assert touched == {k for k, _ in model.named_parameters()}


@each
def test_the_loss_follows_its_generator(kind):
    model, x = made(kind), clips(kind)
    first, same, other = (model.loss(x, generator=torch.Generator().manual_seed(s)).to_dict() for s in (0, 0, 1))
    assert first == same != other


@each
def test_three_clips_are_learned_a_little(kind):
    torch.manual_seed(0)
    model, x = build(SETTINGS[kind].replace(weight_static=0.01, weight_dynamic=0.01)).train(), clips(kind)
    x = x[:, :3] if x.ndim == 5 else x
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    errors = []
    for _ in range(40):
        adam.zero_grad()
        terms = model.loss(x)
        terms.total.backward()
        adam.step()
        errors.append(float(terms.terms["sequence"].detach()))
    start, end = sum(errors[:3]) / 3, sum(errors[-3:]) / 3
    assert end < start - 0.3 * abs(start), (start, end)


@each
@torch.no_grad()
def test_new_codes(kind):
    model, x = made(kind), clips(kind)
    static = model.sample_static(400, torch.Generator().manual_seed(0))
    assert float(static.mean()) == pytest.approx(0, abs=0.1)
    assert float(static.std()) == pytest.approx(1, abs=0.1)
    dynamic = model.sample_dynamic(3, 11, torch.Generator().manual_seed(0))
    assert dynamic.shape == (3, 11, 4)
    assert torch.equal(dynamic, model.sample_dynamic(3, 11, torch.Generator().manual_seed(0)))
    assert model.decode(Factors(static[:3], dynamic)).shape[0] == 3
    f, seeded = model.encode(x), torch.Generator
    with_static = model.with_new_static(x, generator=seeded().manual_seed(5))
    assert torch.equal(with_static, model.decode(Factors(model.sample_static(3, seeded().manual_seed(5)), f.dynamic)))
    drawn = model.sample_dynamic(3, f.frames, seeded().manual_seed(5))
    with_dynamics = model.with_new_dynamics(x, generator=seeded().manual_seed(5))
    assert torch.equal(with_dynamics, model.decode(Factors(f.static, drawn)))


@each
@torch.no_grad()
def test_codes_of_other_widths_are_refused(kind):
    with pytest.raises(InputError, match="expected S 5 and D 4"):
        made(kind).decode(Factors(torch.zeros(2, 4), torch.zeros(2, 3, 5)))


@each
@pytest.mark.parametrize("wrong", ["axes", "channels", "type"])
def test_other_clips_are_refused(kind, wrong):
    x = clips(kind)
    x = {"axes": x[0], "channels": x[:, :, :2], "type": x.int()}[wrong]
    with pytest.raises(InputError, match="x: got"):
        made(kind).encode(x)
