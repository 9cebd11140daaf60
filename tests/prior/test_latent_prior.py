"""The prior as one object: normalisation, separate networks, samples that do not depend on company."""

import pytest
import torch

from diffsda.edm.noise import SampleNoise
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.prior.latent import LatentPrior, Sizes, parameters
from diffsda.prior.recipe import Prior

SIZES = Sizes(static=4, dynamic=2, frames=3)
SMALL = Prior(layers=3, width=2, sampling_steps=8)


def factors(count=200, seed=0):
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(count, 4, generator=g) * torch.tensor([0.1, 1.0, 5.0, 30.0]) + torch.tensor([0.0, 1.0, -20.0, 7.0])
    d = torch.randn(count, 3, 2, generator=g) * torch.tensor([2.0, 0.5]) + torch.tensor([3.0, -1.0])
    d[:, 1] += 0.5  # Frames differ: their statistics are shared all the same.
    return Factors(s, d)


@pytest.fixture
def prior(randomise):
    return randomise(LatentPrior(SMALL, SIZES))


def test_each_dimension_is_brought_to_mean_0_and_deviation_1(prior):
    f = factors()
    prior.measure(f)
    z = prior.pack(f)
    static, dynamic = z[:, :4], z[:, 4:].unflatten(1, (3, 2))
    for values, axes in ((static, 0), (dynamic, (0, 1))):
        torch.testing.assert_close(values.mean(axes), torch.zeros(values.shape[-1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.std(axes, correction=0), torch.ones(values.shape[-1]), atol=1e-4, rtol=0)
    # One mean a dimension of d, not one a frame.
    assert float(dynamic[:, 1, 1].mean()) > 0.3
    back = prior.unpack(z)
    torch.testing.assert_close(back.static, f.static, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(back.dynamic, f.dynamic, rtol=1e-5, atol=1e-5)


def test_normalisation_can_be_left_out_and_a_constant_dimension_is_no_trouble(randomise):
    f = factors()
    plain = randomise(LatentPrior(Prior(layers=3, normalise=False), SIZES))
    plain.measure(f)
    torch.testing.assert_close(plain.pack(f), f.pack())
    f.static[:, 0] = 3.0
    prior = randomise(LatentPrior(SMALL, SIZES))
    prior.measure(f)
    assert float(prior.std[0]) == 1.0
    assert torch.isfinite(prior.pack(f)).all()
    assert not prior.pack(f)[:, 0].any()


def test_samples_do_not_depend_on_what_else_is_drawn(prior):
    for how in ({}, {"eta": 1.0}, {"rule": "ddpm", "steps": 5}):
        all_of_them = prior.sample(6, 10, **how)
        some = prior.sample(3, [12, 15, 10], **how)
        torch.testing.assert_close(some.static, all_of_them.static[[2, 5, 0]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(some.dynamic, all_of_them.dynamic[[2, 5, 0]], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(all_of_them.static[0], all_of_them.static[1], atol=1e-2)


def test_samples_do_not_depend_on_how_many_are_drawn_at_a_time(prior, monkeypatch):
    whole = prior.sample(7, 3, eta=0.5)
    monkeypatch.setattr("diffsda.prior.latent.ROWS", 2)
    torch.testing.assert_close(prior.sample(7, 3, eta=0.5).pack(), whole.pack(), rtol=1e-4, atol=1e-5)


def test_factors_and_start_noise_of_one_seed_are_unrelated(prior):
    """A clip of seed 5 draws its start noise from 5: its factors must not come from the same numbers."""
    drawn = []

    class Watched(SampleNoise):
        def __call__(self):
            drawn.append(super().__call__())
            return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffsda.prior.latent.SampleNoise", Watched)
        prior.sample(400, 0)
    other = SampleNoise(0, (400, SIZES.total), like=torch.empty(0))()
    assert not torch.isclose(drawn[0], other).any(1).all()
    correlation = torch.corrcoef(torch.stack([drawn[0].ravel(), other.ravel()]))[0, 1]
    assert abs(float(correlation)) < 5 / 4000**0.5


def test_dropout_is_off_while_sampling_and_back_on_after(randomise):
    prior = randomise(LatentPrior(Prior(layers=3, dropout=0.5, sampling_steps=4), SIZES)).train()
    assert torch.equal(prior.sample(2).static, prior.sample(2).static)
    assert prior.training


def test_every_step_is_watched(prior, monkeypatch):
    monkeypatch.setattr("diffsda.prior.latent.ROWS", 2)
    seen = []

    def track(total):
        seen.append(total)

        def watch(moves):
            for move in moves:
                seen.append(move)
                yield move

        return watch

    prior.sample(5, steps=4, track=track)
    assert seen[0] == len(seen) - 1 == 3 * 4


def test_scales_are_worked_out_once_for_all_steps_and_samples(prior):
    rows = []
    prior.networks["joint"].modulation.register_forward_hook(lambda module, given, out: rows.append(len(out)))
    prior.sample(5, steps=8)
    assert rows == [8]


def test_with_two_networks_neither_factor_knows_of_the_other(randomise):
    prior = randomise(LatentPrior(Prior(layers=3, width=2, split=True), SIZES))
    z, t = torch.randn(5, 10), torch.full((5,), 300)
    moved = z.clone()
    moved[:, 4:] += 1
    assert torch.equal(prior.predict(moved, t)[:, :4], prior.predict(z, t)[:, :4])
    assert not torch.allclose(prior.predict(moved, t)[:, 4:], prior.predict(z, t)[:, 4:])
    joint = randomise(LatentPrior(Prior(layers=3, width=2), SIZES))
    assert not torch.allclose(joint.predict(moved, t)[:, :4], joint.predict(z, t)[:, :4])
    for one in (prior, joint):
        assert sum(p.numel() for p in one.parameters()) == parameters(one.recipe, SIZES)
        assert one.sample(2, steps=3).dynamic.shape == (2, 3, 2)


def test_two_networks_learn_as_each_alone_would(randomise):
    prior = randomise(LatentPrior(Prior(layers=3, width=2, split=True), SIZES))
    z, t, eps = torch.randn(5, 10), torch.arange(5) * 100, torch.randn(5, 10)
    both = prior(z, t, eps)
    noisy = [z.new_tensor(0.0)] * 2
    from diffsda.prior.diffusion import noised, signal

    given = noised(z, t, eps, signal(prior.recipe))
    for i, (name, part) in enumerate(prior.columns.items()):
        noisy[i] = ((prior.networks[name](given[:, part], t) - eps[:, part]) ** 2).mean()
    torch.testing.assert_close(both, noisy[0] + noisy[1])


def test_the_noise_a_sample_came_from_is_found_again(prior):
    prior.measure(factors())
    z = torch.randn(3, 10) * 0.1
    with torch.no_grad():
        prior.networks["joint"].linears[-1].weight.mul_(0.05)
        prior.networks["joint"].linears[-1].bias.zero_()
    f = prior.unpack(z)
    start = prior.invert(f, steps=1000)
    from diffsda.prior.diffusion import sampling_plan

    again = prior._follow(start, sampling_plan(prior.recipe, steps=1000), None, iter)
    torch.testing.assert_close(again, z, atol=2e-2, rtol=0)


def test_factors_that_do_not_fit(prior):
    each_frame = Factors(torch.zeros(2, 3, 4), torch.zeros(2, 3, 2))
    with pytest.raises(InputError, match="static factor a frame"):
        prior.pack(each_frame)
    with pytest.raises(InputError, match="static factor a frame"):
        Sizes.of(each_frame)
    with pytest.raises(InputError, match="S 4, D 2 over 5 frames, expected S 4, D 2 over 3"):
        prior.pack(Factors(torch.zeros(2, 4), torch.zeros(2, 5, 2)))
    with pytest.raises(InputError, match="S 6, D 2 over 3 frames"):
        prior.measure(Factors(torch.zeros(2, 6), torch.zeros(2, 3, 2)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0,), "count: got 0"),
        ((2.0,), "count: got 2.0"),
        ((2, [1]), "2 of them"),
        ((2, -1), "seeds: got -1"),
        ((2, [3, -3]), "seeds"),
    ],
)
def test_samples_that_cannot_be_drawn(prior, given, words):
    with pytest.raises(InputError, match=words):
        prior.sample(*given)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (True, 1, 1), (10, 2000, 2000)])
def test_sizes_no_clip_has(sizes):
    with pytest.raises(InputError, match="sizes"):
        Sizes(static=sizes[0], dynamic=sizes[1], frames=sizes[2])
