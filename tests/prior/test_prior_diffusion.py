"""The prior's diffusion: the recorded loops, and convergence where the exact answer is known."""

import pytest
import torch
from recorded_prior import loaded, recorded, relative

from diffsda.errors import InputError
from diffsda.prior.diffusion import follow, inversion_plan, noised, sampling_plan, signal, spaced
from diffsda.prior.recipe import Prior

MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
STD = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)


def go(prior, plan, start, noises=()):
    """Follow a plan from ``start`` with the noises given, and keep every state on the way."""
    draws, states = iter(noises), []

    def watch(moves):
        for move in moves:
            yield move
            states.append(move)

    net = prior.networks["joint"]
    scales = net.scales(torch.tensor([move.t for move in plan]))
    trace = []

    def predict(z, i):
        trace.append(z)
        return net.network(z, scales[i : i + 1])

    with torch.no_grad():
        end = follow(predict, start, plan, fresh=lambda: next(draws), progress=watch)
    assert len(states) == len(plan)
    return end, trace[1:] + [end]


def test_the_loss_is_the_recorded_one():
    g = recorded()
    loss = loaded()(g["x"], g["loss_t"], g["loss_eps"])
    assert float(loss.detach()) == pytest.approx(float(g["loss"]), rel=1e-5)
    l1 = loaded(loss="l1")(g["x"], g["loss_t"], g["loss_eps"])
    assert float(l1.detach()) != pytest.approx(float(g["loss"]), rel=0.05)


@pytest.mark.parametrize(("rule", "name"), [("published", "ddim"), ("ddpm", "ddpm")])
def test_a_thousand_steps_end_where_the_recorded_ones_do(rule, name):
    g, prior = recorded(), loaded()
    end, trace = go(prior, sampling_plan(prior.recipe, steps=1000, rule=rule), g["xT"], g["noise"])
    assert relative(end, g[f"{name}_out"]) < 1e-4
    # Recorded after iterations 0, 499, 998 and 999; the published rule's last changes nothing and is left out.
    for held, i in zip(g[f"{name}_trace"], (0, 499, 998, min(999, len(trace) - 1))):
        assert relative(trace[i], held) < 1e-4


def test_fifty_steps_of_a_fifty_step_schedule():
    g, prior = recorded(), loaded(steps=50)
    end, _ = go(prior, sampling_plan(prior.recipe, rule="published"), g["xT"], g["ddim50_noise"])
    assert relative(end, g["ddim50_out"]) < 1e-4


def test_the_published_way_back():
    g, prior = recorded(), loaded()
    plan = inversion_plan(prior.recipe, rule="published")
    assert (plan[0].t, plan[-1].t) == (1, 998)
    assert relative(go(prior, plan, g["x"][:2])[0], g["ddim_reverse_out"]) < 1e-4


def test_a_move_of_the_published_rule_by_hand():
    """beta = 0.1, 0.2, 0.3, 0.4, so the level is 0.9, 0.72, 0.504, 0.3024 after steps 0 to 3.

    At t = 3 the rule takes z to be at the level of step 2, here = 0.504, and leaves it at that of step 1, there = 0.72,
    with eta = 0.01 and the beta of step 2:
        sigma = eta sqrt((1 - there) / (1 - here)) sqrt(beta_2) = 0.01 sqrt(0.28 / 0.496) sqrt(0.3) = 0.0041152747
        z' = sqrt(there / here) z + (sqrt(1 - there - sigma^2) - sqrt(there / here) sqrt(1 - here)) eps + sigma noise
    """
    first, *_, last = sampling_plan(Prior(steps=4, betas=(0.1, 0.4)), rule="published")
    assert first.t == 3
    assert first.noise == pytest.approx(0.00411527, abs=1e-8)
    assert first.keep == pytest.approx(1.19522861, abs=1e-8)  # sqrt(0.72 / 0.504)
    assert first.eps == pytest.approx(0.52913426 - 1.19522861 * 0.70427267, abs=1e-7)
    # At t = 1 the level before the first step is 1: nothing but the factors is left, sqrt(1 / 0.9) and no noise.
    assert (last.t, last.noise) == (1, 0)
    assert last.keep == pytest.approx(1.05409255, abs=1e-8)
    assert last.eps == pytest.approx(-1.05409255 * 0.31622777, abs=1e-7)


def exact_noise(level, plan):
    """Return the perfect network for a Gaussian: the noise expected in z at each step."""

    def predict(z, i):
        a = level[plan[i].t]
        return (1 - a) ** 0.5 * (z - a**0.5 * MEAN) / (a * STD**2 + 1 - a)

    return predict


def error(recipe, start, **how):
    """Return how far DDIM under the perfect network ends from where the exact flow does."""
    level = signal(recipe)
    plan = sampling_plan(recipe, **how)
    end = follow(exact_noise(level, plan), start, plan)
    a = float(level[-1])
    exact = MEAN + (start / a**0.5 - MEAN) * STD / (STD**2 + (1 - a) / a) ** 0.5
    return float((end - exact).abs().max())


def test_ddim_is_of_first_order_and_the_published_rule_is_off():
    recipe = Prior(eta=0.0)
    start = torch.randn(64, 3, dtype=torch.float64)
    errors = {steps: error(recipe, start, steps=steps) for steps in (50, 100, 200, 1000)}
    assert errors[50] < 0.15
    assert errors[1000] < 0.01
    # Halving the steps halves the error.
    assert 1.9 < errors[50] / errors[100] < 2.1
    assert 1.9 < errors[100] / errors[200] < 2.1
    assert 4.5 < errors[200] / errors[1000] < 5.5
    # With all its thousand steps it is further off than a fifth of them done right.
    assert error(recipe, start, rule="published") > 3 * errors[1000]


def test_the_way_back_leads_to_where_it_came_from():
    recipe, start = Prior(), torch.randn(64, 3, dtype=torch.float64)
    level, gaps = signal(recipe), []
    for steps in (100, 200, 400):
        way, back = sampling_plan(recipe, steps=steps), inversion_plan(recipe, steps=steps)
        end = follow(exact_noise(level, way), start, way)
        gaps.append(float((follow(exact_noise(level, back), end, back) - start).abs().max()))
    assert gaps[2] < 0.06
    assert gaps[0] > 1.8 * gaps[1] > 3.2 * gaps[2]


@pytest.mark.parametrize(("rule", "steps", "eta"), [("ddpm", 300, None), ("ddim", 300, 0.5)])
def test_noisy_rules_reach_the_same_gaussian(rule, steps, eta):
    recipe = Prior()
    plan = sampling_plan(recipe, steps=steps, rule=rule, eta=eta)
    assert any(move.noise for move in plan)
    a = float(signal(recipe)[-1])
    start = a**0.5 * MEAN + (a * STD**2 + 1 - a) ** 0.5 * torch.randn(8_000, 3, dtype=torch.float64)
    end = follow(exact_noise(signal(recipe), plan), start, plan, fresh=lambda: torch.randn_like(start))
    # Five standard errors, and the discretisation's share of the deviation.
    assert torch.all((end.mean(0) - MEAN).abs() < 5 * STD / 8_000**0.5 + 0.01)
    assert torch.all((end.std(0) / STD - 1).abs() < 5 / 16_000**0.5 + 0.02)
    with pytest.raises(ValueError, match="adds noise"):
        follow(exact_noise(signal(recipe), plan), start[:1], plan)


def test_codes_that_are_not_normalised_come_out_shifted():
    """The last step leaves 8 % of the signal, which unit noise lacks: none is missed where mean 0, deviation 1."""
    recipe = Prior()
    plan = sampling_plan(recipe, steps=500)
    end = follow(exact_noise(signal(recipe), plan), torch.randn(8_000, 3, dtype=torch.float64), plan)
    shift = (end.mean(0) - MEAN).abs() / STD
    assert float(shift[1]) > 0.1
    normal = MEAN.new_zeros(8_000, 3).normal_()
    level = signal(recipe)

    def predict(z, i):
        return (1 - level[plan[i].t]) ** 0.5 * z

    assert float(follow(predict, normal, plan).mean(0).abs().max()) < 5 / 8_000**0.5


def test_an_ancestral_step_is_a_ddim_step_of_eta_one():
    assert sampling_plan(Prior(), steps=40, rule="ddpm") == sampling_plan(Prior(), steps=40, eta=1.0)


def test_noise_goes_in_as_the_schedule_says():
    recipe = Prior(steps=1000)
    level = signal(recipe)
    assert float(level[-1]) == pytest.approx(0.0066, abs=1e-4)
    assert float(signal(Prior(betas=(0.008, 0.008)))[-1]) == pytest.approx(0.992**1000)
    z, eps = torch.randn(3, 5), torch.randn(3, 5)
    t = torch.tensor([0, 500, 999])
    x = noised(z, t, eps, level)
    for row, step in enumerate(t.tolist()):
        a = float(level[step])
        torch.testing.assert_close(x[row], a**0.5 * z[row] + (1 - a) ** 0.5 * eps[row])


def test_steps_are_even_and_reach_the_end():
    assert spaced(1000, 1000) == list(range(1000))
    assert spaced(1000, 4) == [249, 499, 749, 999]
    assert spaced(7, 3) == [2, 4, 6]
    for count in (1, 3, 7, 33):
        chosen = spaced(100, count)
        assert len(set(chosen)) == count
        assert chosen[-1] == 99
        assert min(chosen) >= 0


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"steps": 0}, "from 1 to the prior's 1000"),
        ({"steps": 1001}, "from 1 to the prior's 1000"),
        ({"steps": 2.5}, "got 2.5"),
        ({"rule": "heun"}, "expected ddim, ddpm or published"),
        ({"rule": "published", "steps": 50}, "takes all 1000"),
        ({"eta": 1.5}, "from 0 to 1"),
    ],
)
def test_plans_that_cannot_be(how, words):
    with pytest.raises(InputError, match=words):
        sampling_plan(Prior(), **how)


def test_ancestral_steps_cannot_be_turned_around():
    with pytest.raises(InputError, match="cannot be turned around"):
        inversion_plan(Prior(), rule="ddpm")
    assert len(inversion_plan(Prior(), steps=20)) == 20
