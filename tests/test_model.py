"""The model as one object: padding, causality, draws, masks, seeds and what it refuses."""

import numpy as np
import pytest
import torch

import diffsda.encoder
import diffsda.model
from diffsda import DiffSDA, Factors, preset
from diffsda.edm.loss import draw_sigma
from diffsda.errors import InputError

CHANGES = {
    "series": ("tiny_vector", {}),
    "static a step": ("tiny_vector", {"shared_static": False}),
    "causal": ("tiny_vector", {"causal": True}),
    "causal, static a step": ("tiny_vector", {"causal": True, "shared_static": False}),
    "video": ("tiny_video", {}),
}
LENGTHS = torch.tensor([5, 2, 4])
FRAMES = 5
every = pytest.mark.parametrize("kind", CHANGES)
TINY = 1e-9


@pytest.fixture
def build(randomise):
    def make(kind="series", **parts):
        name, encoder = CHANGES[kind]
        if kind == "video":
            parts["clips"] = {"size": 8}
        recipe = preset(name).replace(encoder=encoder, **parts)
        return randomise(DiffSDA(recipe)).double()

    return make


def clips_for(model, batch=3, frames=FRAMES):
    clips = model.recipe.clips
    return torch.randn(batch, frames, clips.channels, *[clips.size] * 2 if clips.size else []).double()


def draws_for(x, times=1):
    return torch.rand(times * len(x), x.shape[1]).double() + 0.1, torch.randn(times * len(x), *x.shape[1:]).double()


def padded_with(x, value):
    """Return the clips with something else after each one's end."""
    x = x.clone()
    for clip, length in zip(x, LENGTHS, strict=True):
        clip[length:] = value if isinstance(value, float) else torch.randn_like(clip[length:]) * 50
    return x


def close(given, wanted, tolerance=TINY):
    assert given.shape == wanted.shape
    assert float((given - wanted).detach().abs().max()) <= tolerance


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {k: p.grad.clone() for k, p in model.named_parameters()}


def close_gradients(given, wanted):
    for key, value in wanted.items():
        close(given[key], value)


@every
def test_padding_changes_nothing(kind, build):
    model = build(kind)
    x = clips_for(model)
    sigma, noise = draws_for(x)
    first, second = padded_with(x, 0.0), padded_with(x, "garbage")
    f, g = model.encode(first, LENGTHS), model.encode(second, LENGTHS)
    close(f.static, g.static, 0)
    close(f.dynamic, g.dynamic, 0)
    assert not f.dynamic[1, 2:].any()
    losses = [model.loss(y, sigma, padded_with(noise, v), lengths=LENGTHS) for y, v in ((first, 0.0), (second, ""))]
    close(losses[0], losses[1])
    close_gradients(*(gradients(model, loss) for loss in losses))


@every
def test_padded_clips_equal_each_clip_alone(kind, build):
    model = build(kind)
    x = padded_with(clips_for(model), "garbage")
    sigma, noise = draws_for(x)
    f = model.encode(x, LENGTHS)
    whole = model.loss(x, sigma, noise, lengths=LENGTHS)
    parts = []
    for i, n in enumerate(LENGTHS.tolist()):
        alone = slice(i, i + 1), slice(n)
        g = model.encode(x[alone])
        close(f.dynamic[alone], g.dynamic)
        close(f.static[i : i + 1] if f.shared else f.static[alone], g.static)
        parts.append(n * model.loss(x[alone], sigma[alone], noise[alone]))
    close(whole, sum(parts) / LENGTHS.sum())
    close_gradients(gradients(model, whole), gradients(model, sum(parts) / LENGTHS.sum()))


@every
def test_skipping_padded_rows_equals_working_on_all(kind, build, monkeypatch):
    model = build(kind)
    x = padded_with(clips_for(model), "garbage")
    sigma, noise = draws_for(x, 2)
    mask = (torch.rand_like(x) < 0.3).double()

    def work():
        f = model.encode(x, LENGTHS)
        columns = [sigma, sigma[:, :1]]
        return f, [gradients(model, model.loss(x, s, noise, mask, LENGTHS)) for s in columns]

    f, few = work()
    for module in (diffsda.encoder, diffsda.model):
        monkeypatch.setattr(module, "real_rows", lambda lengths, frames: None)
    g, all_rows = work()
    close(f.static, g.static)
    close(f.dynamic, g.dynamic)
    for a, b in zip(few, all_rows, strict=True):
        close_gradients(a, b)


@every
def test_full_lengths_are_no_lengths(kind, build):
    model = build(kind)
    x = clips_for(model)
    sigma, noise = draws_for(x)
    f, g = model.encode(x), model.encode(x, [FRAMES] * 3)
    close(f.static, g.static)
    close(f.dynamic, g.dynamic)
    close(model.loss(x, sigma, noise), model.loss(x, sigma, noise, lengths=np.full(3, FRAMES)))


@every
def test_two_frames_are_enough(kind, build):
    model = build(kind)
    x = clips_for(model, frames=2)
    assert model.encode(x).dynamic.shape == (3, 2, model.recipe.encoder.dynamic)
    assert torch.isfinite(model.loss(x))
    assert model.reconstruct(x, steps=2).shape == x.shape


@pytest.mark.parametrize(("kind", "sees"), [("series", True), ("causal", False), ("video", True)])
def test_causal_dynamics_do_not_see_the_future(kind, sees, build):
    model = build(kind)
    x = clips_for(model)
    changed = x.clone()
    changed[:, 3:] += 1
    f, g = model.encode(x), model.encode(changed)
    assert bool((f.dynamic[:, :3] != g.dynamic[:, :3]).any()) == sees
    assert bool((f.dynamic[:, 3:] != g.dynamic[:, 3:]).any())
    assert bool((f.static != g.static).all())


def weighted_squares(model, x, sigma, noise):
    """Compute lambda(sigma) (D - x)^2 from the public call, element by element."""
    column = sigma.reshape(*sigma.shape, *[1] * (x.ndim - 2))
    d = model.denoise(x + column * noise, sigma, model.encode(x))
    return (column**2 + 0.25) / (column * 0.5) ** 2 * (d - x) ** 2


@every
def test_the_loss_is_the_weighted_error_and_the_mask_counts_in_the_mean(kind, build):
    model = build(kind)
    x = clips_for(model)
    sigma, noise = draws_for(x)
    error = weighted_squares(model, x, sigma, noise)
    close(model.loss(x, sigma, noise), error.mean())
    close(model(x, sigma, noise), error.mean())
    mask = (torch.rand_like(x) < 0.4).double()
    wanted = error[mask == 0].sum() / x.numel()  # missing values stay in the count
    close(model.loss(x, sigma, noise, mask), wanted)
    close(model.loss(x, sigma, noise, mask, count=2.0), wanted * x.numel() / 2)
    assert model.loss(x, sigma, noise, torch.ones_like(x)).item() == 0


@every
def test_several_draws_are_the_mean_of_single_ones(kind, build):
    model = build(kind)
    x = clips_for(model)
    mask = (torch.rand_like(x) < 0.4).double()
    sigma, noise = draws_for(x, 3)
    for lengths in (None, LENGTHS):
        for columns in (sigma, sigma[:, :1]):
            singles = [
                model.loss(x, s, n, mask, lengths)
                for s, n in zip(columns.chunk(3), noise.chunk(3), strict=True)  # draw after draw
            ]
            close(model.loss(x, columns, noise, mask, lengths), sum(singles) / 3)


@every
def test_one_level_a_clip_equals_the_same_level_in_every_frame(kind, build):
    model = build(kind)
    x = clips_for(model)
    sigma, noise = draws_for(x, 2)
    for lengths in (None, LENGTHS):
        once = model.loss(x, sigma[:, :1], noise, lengths=lengths)
        close(once, model.loss(x, sigma[:, :1].expand(-1, FRAMES), noise, lengths=lengths))


@pytest.mark.parametrize("per_frame", [True, False])
def test_draws_levels_first_then_noise_as_often_as_the_recipe_says(per_frame, build):
    model = build(noise={"per_frame": per_frame}, optim={"draws": 4}).float()
    x = clips_for(model).float()
    draw = torch.Generator().manual_seed(7)
    sigma = draw_sigma(12, FRAMES, model.recipe.noise, device=torch.device("cpu"), generator=draw)
    noise = torch.randn(12, *x.shape[1:], generator=draw)
    assert sigma.shape == (12, FRAMES if per_frame else 1)
    wanted = model.loss(x, sigma, noise)
    close(model.loss(x, generator=torch.Generator().manual_seed(7)), wanted, 0)
    assert model.loss(x).item() != model.loss(x).item()


def test_parts_of_a_batch_add_up(build):
    model = build()
    x = clips_for(model)
    sigma, noise = draws_for(x)
    count = LENGTHS.sum() * x.shape[2]
    parts = [
        model.loss(x[i : i + 1], sigma[i : i + 1], noise[i : i + 1], lengths=LENGTHS[i : i + 1], count=count)
        for i in range(3)
    ]
    close(sum(parts), model.loss(x, sigma, noise, lengths=LENGTHS))


@every
def test_a_batch_samples_like_its_clips_one_by_one(kind, build):
    model = build(kind, sampling={"steps": 3, "S_churn": 1.0})
    f = model.encode(clips_for(model))
    together = model.sample(f, seed=11)
    for i in range(3):
        close(together[i : i + 1], model.sample(f[i], seed=11 + i))
    close(
        model.sample(f, seed=[13, 5, 11])[[0, 2]], torch.cat([model.sample(f[0], seed=13), model.sample(f[2], seed=11)])
    )
    assert not torch.equal(together, model.sample(f, seed=12))


@every
def test_solving_padded_clips_equals_each_clip_alone(kind, build, monkeypatch):
    model = build(kind, sampling={"steps": 3, "S_churn": 1.0})
    x = padded_with(clips_for(model), "garbage")
    f = model.encode(x, LENGTHS)
    start = torch.randn_like(x)

    def work():
        return model.sample(f, start, seed=3, lengths=LENGTHS), model.invert(x, f, lengths=LENGTHS)

    some = work()
    whole = model.sample(f, start, seed=3), model.invert(x, f)
    for given, wanted in zip(some, whole, strict=True):
        for clip, other, n in zip(given, wanted, LENGTHS.tolist(), strict=True):
            torch.testing.assert_close(clip[:n], other[:n])
            assert not clip[n:].any()
    monkeypatch.setattr(diffsda.model, "real_rows", lambda lengths, frames: None)
    for given, wanted in zip(work(), some, strict=True):
        close(given, wanted)


def test_shared_noise_repeats_a_frame(build):
    model = build(sampling={"steps": 2, "shared_noise": True})
    f = model.encode(clips_for(model))
    same = Factors(f.static, f.dynamic[:, :1].expand(-1, FRAMES, -1))
    y = model.sample(same)
    close(y, y[:, :1].expand_as(y))
    assert float((y[0] - y[1]).abs().max()) > 1e-3


def test_churn_draws_noise_from_the_seed_alone(build):
    plain, churned = build(sampling={"steps": 3}), build(sampling={"steps": 3, "S_churn": 2.0})
    f, start = plain.encode(clips_for(plain)), torch.randn(3, FRAMES, 6).double()
    close(plain.sample(f, start, seed=1), plain.sample(f, start, seed=2), 0)
    assert not torch.equal(churned.sample(f, start, seed=1), churned.sample(f, start, seed=2))
    torch.manual_seed(99)
    close(churned.sample(f, start, seed=1), churned.sample(f, start, seed=1), 0)


def test_sampling_leaves_dropout_off_and_the_mode_as_it_was(build):
    model = build()
    x = clips_for(model)
    wanted = model.swap(x, x.roll(1, 0), steps=2), model.reconstruct(x, steps=2)
    model.train()
    given = model.swap(x, x.roll(1, 0), steps=2), model.reconstruct(x, steps=2)
    close(given[0], wanted[0], 0)
    close(given[1], wanted[1], 0)
    assert model.training
    assert not torch.equal(model.encode(x).dynamic, model.encode(x).dynamic)


@every
def test_swap_and_reconstruct_are_what_they_are_made_of(kind, build):
    model = build(kind)
    x, y = clips_for(model), clips_for(model)
    f, g = model.encode(x), model.encode(y)
    mixed = f.swap(dynamic_from=g)
    starts = {"dynamic": model.invert(y, g, 2), "static": model.invert(x, f, 2), "fresh": None}
    for noise, start in starts.items():
        close(model.swap(x, y, noise=noise, steps=2, seed=4), model.sample(mixed, start, 2, 4))
    shared = model.swap(x, y, noise="shared", steps=2, seed=4)
    assert not torch.equal(shared, model.swap(x, y, noise="fresh", steps=2, seed=4))
    close(model.reconstruct(x, steps=2), model.sample(f, starts["static"], 2))
    close(model.reconstruct(x, steps=2, noise="fresh", seed=2), model.sample(f, None, 2, 2))


@pytest.mark.parametrize("kind", [k for k in CHANGES if k != "video"])
def test_swap_of_padded_clips(kind, build):
    model = build(kind)
    x, y = padded_with(clips_for(model), "garbage"), padded_with(clips_for(model), "garbage")
    for noise in ("dynamic", "static", "fresh", "shared"):
        both = {"lengths_static": LENGTHS, "lengths_dynamic": LENGTHS, "noise": noise, "steps": 2}
        given = model.swap(x, y, **both)
        close(given, model.swap(padded_with(x, 0.0), padded_with(y, 0.0), **both))
        assert not given[1, 2:].any()
    back = model.reconstruct(x, LENGTHS, steps=2)
    close(back[1:2, :2], model.reconstruct(x[1:2, :2], steps=2))
    assert not back[1, 2:].any()


def test_donors_of_other_lengths(build):
    model = build()
    x, y = clips_for(model, frames=7), clips_for(model)
    assert model.swap(x, y, steps=2).shape == y.shape
    with pytest.raises(InputError, match="7 and 5 frames"):
        model.swap(x, y, noise="static", steps=2)
    with pytest.raises(InputError, match="frames"):
        build("static a step").swap(x, y, steps=2)


@pytest.mark.parametrize(("kind", "noise"), [("series", "static"), ("static a step", "dynamic")])
def test_donors_whose_lengths_must_agree(kind, noise, build):
    model = build(kind)
    x = clips_for(model)
    with pytest.raises(InputError, match="length"):
        model.swap(x, x, noise=noise, steps=2, lengths_static=LENGTHS, lengths_dynamic=LENGTHS.flip(0))


def test_numpy_arrays_and_other_float_types(build):
    model = build().float()
    x = clips_for(model).numpy()
    f = model.encode(x.astype(np.float64))
    assert f.static.dtype == torch.float32
    close(f.static, model.encode(torch.from_numpy(x).float()).static)


REFUSED = {
    "4 axes": lambda m, x, f: m.encode(x[..., None]),
    "floating point": lambda m, x, f: m.encode(x.long()),
    "empty batch": lambda m, x, f: m.encode(x[:0]),
    "1 frame": lambda m, x, f: m.encode(x[:, :1]),
    "5 features": lambda m, x, f: m.encode(x[..., :5]),
    "finite": lambda m, x, f: m.encode(x.index_fill(1, torch.tensor(2), float("nan"))),
    "2 to 5": lambda m, x, f: m.encode(x, [5, 6, 3]),
    "got 1": lambda m, x, f: m.encode(x, [5, 1, 3]),
    "one a clip": lambda m, x, f: m.encode(x, [5, 5]),
    "whole numbers": lambda m, x, f: m.encode(x, [5.0, 5.0, 5.0]),
    "not above 0": lambda m, x, f: m.denoise(x, 0.0, f),
    "sigma: got shape": lambda m, x, f: m.denoise(x, torch.ones(2, 5), f),
    "3 clips of 5 frames": lambda m, x, f: m.denoise(x[:2], 1.0, f),
    "widths S": lambda m, x, f: m.sample(Factors(f.static[:, 1:], f.dynamic)),
    "at least 2": lambda m, x, f: m.sample(f, steps=1),
    "for these factors": lambda m, x, f: m.sample(f, x[:2]),
    "3 of them": lambda m, x, f: m.sample(f, seed=[1, 2]),
    "multiple of the 3": lambda m, x, f: m.loss(x, torch.ones(4, 5)),
    "noise: got": lambda m, x, f: m.loss(x, torch.ones(6, 5), x),
    "mask": lambda m, x, f: m.loss(x, mask=x[:, 1:]),
    "'own' or 'fresh'": lambda m, x, f: m.reconstruct(x, noise="dynamic"),
    "'shared'": lambda m, x, f: m.swap(x, x, noise="own"),
    "as many of each": lambda m, x, f: m.swap(x, x[:2]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refuses_in_one_line(message, build):
    model = build()
    x = clips_for(model)
    with pytest.raises(InputError, match=message) as caught:
        REFUSED[message](model, x, model.encode(x))
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_refuses_frames_of_another_size(build):
    model = build("video")
    with pytest.raises(InputError, match="8x8"):
        model.encode(clips_for(model)[..., :7, :7])
