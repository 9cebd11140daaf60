"""Training a prior: it learns a distribution that is known, and can be stopped, resumed and refused."""

import json
import os
import signal

import pytest
import torch

from diffsda.errors import InputError, TrainingError
from diffsda.factors import Factors
from diffsda.prior.file import load_prior
from diffsda.prior.latent import Sizes
from diffsda.prior.owner import Owner
from diffsda.prior.recipe import Fit, Prior
from diffsda.train.log import read_log
from diffsda.train.prior import Settings, _Run, tell_size, train_prior, workplace

SMALL = Prior(layers=3, width=2, sampling_steps=5)
FIT = Fit(steps=12, batch=8, warmup=2, lr=1e-3)


def factors(count=20, frames=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Factors(torch.randn(count, 4, generator=g), torch.randn(count, frames, 2, generator=g))


def two_clusters(count):
    """Draw clips of two kinds: s and d both know which, s has correlated dimensions."""
    g = torch.Generator().manual_seed(5)
    kind = 2.0 * torch.randint(0, 2, (count, 1), generator=g) - 1
    mixing = torch.tensor([[0.5, 0.0], [0.4, 0.3]])
    s = torch.tensor([2.0, -1.0]) * kind + torch.randn(count, 2, generator=g) @ mixing.T + 3
    d = 2 * (kind[:, None] + 0.3 * torch.randn(count, 2, 1, generator=g))
    return Factors(s, d)


def test_two_clusters_come_back(tmp_path):
    """Mean, covariance and the share of each cluster, within sampling error; between the clusters lies nothing."""
    count = 2000
    f = two_clusters(count)
    recipe = Prior(layers=4, width=16, dropout=0.0, sampling_steps=30)
    fit = Fit(lr=3e-3, steps=400, batch=256, warmup=50, ema=0.99)
    done = train_prior(recipe, fit, f, tmp_path / "prior.safetensors", device="cpu")
    made, real = done.prior.sample(count, 7).pack(), f.pack()
    std = real.std(0)
    # Two samples of this size differ by up to 4 standard errors of their difference; as much again for the fit.
    unit = 8 * (2 / count) ** 0.5
    assert torch.all((made.mean(0) - real.mean(0)).abs() / std < unit)
    scaled = (torch.cov(made.T) - torch.cov(real.T)) / torch.outer(std, std)
    assert float(scaled.abs().max()) < unit
    share = (made[:, 0] > 3).float().mean()
    assert abs(float(share) - 0.5) < unit / 2
    # s and d of a sample are of one kind, as they are of a clip.
    agree = ((made[:, 0] > 3) == (made[:, 2] > 0)).float().mean()
    assert float(agree) > 0.98
    between = ((made[:, 2] / 2).abs() < 0.15).float().mean()
    assert float(between) < 0.02


def test_independent_networks_lose_what_binds_the_factors(tmp_path):
    f = two_clusters(1000)
    recipe = Prior(layers=3, width=8, dropout=0.0, sampling_steps=30, split=True)
    fit = Fit(lr=3e-3, steps=150, batch=256, warmup=20)
    made = train_prior(recipe, fit, f, tmp_path / "p.safetensors", device="cpu").prior.sample(600, 7).pack()
    agree = ((made[:, 0] > 3) == (made[:, 2] > 0)).float().mean()
    assert 0.4 < float(agree) < 0.6


def test_what_a_training_leaves(tmp_path):
    out, owner, seen = tmp_path / "prior.safetensors", Owner("mine", "0" * 12, "1" * 16, 3), []
    done = train_prior(
        SMALL, FIT, factors(), out, owner=owner, device="cpu", log_every=5, progress=lambda *a: seen.append(a)
    )
    assert (done.finished, done.step, done.signal) == (True, 12, None)
    prior = load_prior(out, owner=owner)
    assert prior.provenance["clips"] == 20
    assert prior.provenance["fit"]["steps"] == 12
    torch.testing.assert_close(prior.sample(2).pack(), done.prior.sample(2).pack())
    assert sorted(p.name for p in workplace(out).iterdir()) == ["log.jsonl"]
    assert [record["step"] for record in read_log(workplace(out))] == [5, 10, 12] == [step for step, _, _ in seen]
    assert set(seen[0][2]) >= {"loss", "grad_norm", "lr", "clips_per_s"}


def test_resumed_codes_are_packed_by_the_statistics_of_the_start(tmp_path):
    out, f = tmp_path / "prior.safetensors", factors()
    train_prior(SMALL, FIT, f, out, device="cpu", until=5)
    # As another device gives them: the same clips, other last digits.
    again = Factors(f.static * (1 + 1e-4) + 1e-5, f.dynamic * (1 - 1e-4))
    run = _Run(Settings(SMALL, FIT, None), again, out, "cpu")
    run.open(resume=True, overwrite=False)
    run.close()
    begun = torch.load(workplace(out) / "state.pt", weights_only=True)["prior"]
    assert torch.equal(run.prior.mean, begun["mean"])
    assert torch.equal(run.z, (again.pack() - begun["mean"]) / begun["std"])
    own = (again.pack() - again.pack().mean(0)) / again.pack().std(0)
    assert not torch.allclose(run.z.mean(0), own.mean(0), atol=1e-6)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_resuming_ends_where_going_straight_does(tmp_path, ema):
    fit = Fit(steps=12, batch=8, warmup=2, lr=1e-3, ema=ema)
    straight = train_prior(SMALL, fit, factors(), tmp_path / "a.safetensors", device="cpu")
    out = tmp_path / "b.safetensors"
    first = train_prior(SMALL, fit, factors(), out, device="cpu", until=5, log_every=2)
    assert (first.finished, first.step) == (False, 5)
    assert not out.exists()
    second = train_prior(SMALL, fit, factors(), out, device="cpu", resume=True, log_every=2)
    assert second.finished
    for name, value in straight.prior.state_dict().items():
        assert torch.equal(second.prior.state_dict()[name], value), name
        assert torch.equal(load_prior(out).state_dict()[name], value), name
    assert [r["step"] for r in read_log(workplace(out))] == [2, 4, 5, 6, 8, 10, 12]


def test_the_average_is_what_is_kept(tmp_path):
    plain = train_prior(SMALL, FIT, factors(), tmp_path / "a.safetensors", device="cpu").prior
    fit = Fit(steps=12, batch=8, warmup=2, lr=1e-3, ema=0.9)
    averaged = train_prior(SMALL, fit, factors(), tmp_path / "b.safetensors", device="cpu").prior
    assert not torch.allclose(plain.networks["joint"].linears[0].weight, averaged.networks["joint"].linears[0].weight)


def test_a_signal_saves_and_stops(tmp_path):
    out = tmp_path / "prior.safetensors"

    def stop(step, total, values):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    done = train_prior(SMALL, FIT, factors(), out, device="cpu", log_every=1, progress=stop)
    assert (done.finished, done.signal, done.step) == (False, signal.SIGTERM, 4)
    with pytest.raises(InputError, match="unfinished training"):
        train_prior(SMALL, FIT, factors(), out, device="cpu")
    assert train_prior(SMALL, FIT, factors(), out, device="cpu", resume=True).finished
    with pytest.raises(InputError, match="finished already"):
        train_prior(SMALL, FIT, factors(), out, device="cpu", resume=True)


def test_resuming_something_else_is_refused(tmp_path):
    out = tmp_path / "prior.safetensors"
    with pytest.raises(InputError, match="no such file"):
        train_prior(SMALL, FIT, factors(), out, device="cpu", resume=True)
    train_prior(SMALL, FIT, factors(), out, device="cpu", until=5)
    go_on = {"device": "cpu", "resume": True}
    with pytest.raises(InputError, match="other clips"):
        train_prior(SMALL, FIT, factors(seed=1), out, **go_on)
    with pytest.raises(InputError, match="other clips"):
        train_prior(SMALL, FIT, factors(21), out, **go_on)
    with pytest.raises(InputError, match=r"fit\.lr was 0\.001, now 0\.002"):
        train_prior(SMALL, Fit(steps=12, batch=8, warmup=2, lr=2e-3), factors(), out, **go_on)
    with pytest.raises(InputError, match=r"prior\.layers was 3, now 4"):
        train_prior(Prior(layers=4, width=2, sampling_steps=5), FIT, factors(), out, **go_on)
    assert train_prior(SMALL, FIT, factors(), out, **go_on).finished


def test_a_file_that_is_there_stays_unless_it_may_go(tmp_path):
    out = tmp_path / "prior.safetensors"
    train_prior(SMALL, FIT, factors(), out, device="cpu")
    before = out.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        train_prior(SMALL, FIT, factors(), out, device="cpu")
    train_prior(SMALL, FIT, factors(), out, device="cpu", until=5, overwrite=True)
    assert out.read_bytes() == before  # The old one stays until the new one is complete.
    train_prior(SMALL, Fit(steps=3, batch=8), factors(), out, device="cpu", overwrite=True)
    assert load_prior(out).provenance["step"] == 3


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    out = tmp_path / "prior.safetensors"
    f = factors()
    huge = Factors(f.static * 1e30, f.dynamic)
    plain = Prior(layers=3, width=2, normalise=False)
    with pytest.raises(TrainingError, match="not finite at step 0"):
        train_prior(plain, FIT, huge, out, device="cpu", log_every=1)
    assert not out.exists()
    # Brought to deviation 1, the same factors are no trouble.
    assert train_prior(SMALL, FIT, huge, out, device="cpu").finished


def test_factors_that_cannot_be_learned(tmp_path):
    out = tmp_path / "prior.safetensors"
    with pytest.raises(InputError, match="static factor a frame"):
        train_prior(SMALL, FIT, Factors(torch.zeros(4, 3, 4), torch.zeros(4, 3, 2)), out, device="cpu")
    broken = factors()
    broken.static[3, 1] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        train_prior(SMALL, FIT, broken, out, device="cpu")
    with pytest.raises(InputError, match="there is no folder"):
        train_prior(SMALL, FIT, factors(), tmp_path / "none" / "prior.safetensors", device="cpu")
    with pytest.raises(InputError, match="expected steps >= 1"):
        train_prior(SMALL, FIT, factors(), out, device="cpu", save_every=0)
    assert not list(tmp_path.iterdir())


def test_large_priors_are_announced(tmp_path):
    said = []
    tell_size(Sizes(static=16, dynamic=4, frames=672), Prior(), said.append)
    assert len(said) == 1
    assert "16 + 672 * 4 = 2704" in said[0]
    assert "1.5 G parameters" in said[0]
    tell_size(Sizes(static=512, dynamic=12, frames=10), Prior(), said.append)
    assert len(said) == 1


def test_records_are_json_lines(tmp_path):
    out = tmp_path / "prior.safetensors"
    train_prior(SMALL, FIT, factors(), out, device="cpu", log_every=6)
    lines = (workplace(out) / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [6, 12]
