"""Seeds of a job's draws: far apart for other jobs and purposes, and nothing shared by the samples of two of them."""

import lookers
import numpy as np
import planted
import protocol_jobs
import pytest
import test_multifactor_protocol as multifactor
import torch
from lookers import job, vectors

from diffsda.edm.noise import SampleNoise
from diffsda.evaluate.draws import base
from diffsda.evaluate.protocols import generation, reconstruction, speech_quality, swap_labels
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior

PURPOSES = ("noise", "prior", "other clips")


def test_ranges_of_seeds_do_not_meet():
    # PyTorch's generators look at the low 32 bits of a seed alone.
    starts = np.sort([base(seed, purpose) % 2**32 for seed in range(10) for purpose in PURPOSES])
    assert np.diff(starts).min() > 100_000
    assert starts[0] + 2**32 - starts[-1] > 100_000


def test_a_base_is_the_same_each_time_and_leaves_room():
    assert base(3, "noise") == base(3, "noise")
    assert all(0 <= base(seed, purpose) < 2**61 for seed in (0, 1, 2**40) for purpose in PURPOSES)


def test_noise_of_two_seeds_has_no_clip_in_common():
    drawn = [SampleNoise(base(seed, "noise"), (20, 6), like=torch.zeros(1))().numpy() for seed in (0, 1)]
    assert nearest(*drawn) > 0.1


@pytest.mark.parametrize("batch", [3, 64])
def test_samples_of_two_seeds_have_no_clip_in_common(randomise, batch):
    model = lookers.network(lookers.VECTOR, randomise)
    prior = randomise(LatentPrior(Prior(layers=3, width=2, sampling_steps=4), Sizes(static=4, dynamic=2, frames=6)))
    sets = []
    for seed in (0, 1):
        shown = []

        class Watching(lookers.Averages):
            def describe(self, clips, shown=shown):
                shown.append(clips)
                return super().describe(clips)

        shelf = lookers.Lookers(clip_features=Watching())
        generation.run(job(model, vectors(8), vectors(8, seed=1), prior=prior, seed=seed, shelf=shelf, batch=batch))
        # Test and training clips, then samples, then the test clips' factors with fresh noise.
        sets.append([x.reshape(8, -1) for x in np.split(np.concatenate(shown), 4)])
    for first, second in zip(sets[0][2:], sets[1][2:], strict=True):
        assert nearest(first, second) > 1e-2 * np.abs(first).max()


def test_factors_and_noise_of_two_seeds_come_from_four_ranges(randomise, monkeypatch):
    given = []
    model = lookers.network(lookers.VECTOR, randomise)
    prior = randomise(LatentPrior(Prior(layers=3, width=2, sampling_steps=4), Sizes(static=4, dynamic=2, frames=6)))
    sample, generate = prior.sample, generation.generate
    monkeypatch.setattr(prior, "sample", lambda n, seed, **o: given.append(seed) or sample(n, seed, **o))
    monkeypatch.setattr(generation, "generate", lambda *a, **o: given.append(o["seed"]) or generate(*a, **o))
    for seed in (0, 1):
        generation.run(job(model, vectors(8), prior=prior, batch=64, seed=seed))
    # A range each for the factors, and one for the noise of samples and of the test clips' factors.
    assert len(given) == 6
    starts = np.sort(np.unique(given))
    assert len(starts) == 4
    assert np.diff(starts).min() > 10**6


def seeds_of_swaps(seed):
    """The seeds of swaps."""
    model = protocol_jobs.Swapper("perfect")
    swap_labels.run(protocol_jobs.job(model, seed=seed, options={"pairs": 10, "leakage": False, "noises": []}))
    return [one for _, own in model.calls for one in own]


def seeds_of_reconstructions(seed):
    """The seeds of reconstructions, from either noise."""
    found = []

    class Watched(lookers.Handing):
        def reconstruct(self, x, lengths, *, seed, **options):
            found.extend(seed)
            return super().reconstruct(x, lengths, seed=seed, **options)

    reconstruction.run(job(Watched(), lookers.video(6), seed=seed, shelf=lookers.Lookers()))
    return sorted(set(found))


def seeds_of_speech(seed):
    """The seeds of reconstructed speech."""
    found = []

    class Watched(planted.Planted):
        def __init__(self):
            super().__init__(modality="audio")
            self.recipe.sampling = type("Sampling", (), {"steps": 3})

        def reconstruct(self, x, lengths=None, *, seed, **options):
            found.append(list(seed))
            return torch.as_tensor(x)

    speech_quality.run(planted.job(vectors(6), model=Watched(), seed=seed))
    return found[0]


def seeds_of_samples(seed):
    """The seeds of factors drawn from a prior, and of the noise clips with them start from."""
    found = []

    class Watched(multifactor.Prior):
        def sample(self, count, seeds, **options):
            found.extend(seeds)
            return super().sample(count, seeds, **options)

    class Painter(multifactor.Painter):
        def sample(self, f, noise=None, steps=None, seed=0, **options):
            found.extend(seed)
            return super().sample(f, noise, steps, seed, **options)

    multifactor.run(model=Painter("mixed"), prior=Watched(), seed=seed, options={"count": 10})
    return sorted(set(found))


@pytest.mark.parametrize(
    "seeds_of", [seeds_of_swaps, seeds_of_reconstructions, seeds_of_speech, seeds_of_samples], ids=lambda f: f.__name__
)
def test_two_seeds_of_a_protocol_draw_from_seeds_of_their_own(seeds_of):
    first, second = (seeds_of(seed) for seed in (0, 1))
    assert len(first) == len(second) >= 6
    assert not set(first) & set(second)
    assert seeds_of(0) == first
    if seeds_of is seeds_of_samples:
        # Ten of the prior and ten of the decoder: neither draws from a seed of the other.
        assert len(first) == 20


def nearest(one, other):
    """The least distance of a row of one set to a row of the other."""
    return np.linalg.norm(one[:, None] - other[None], axis=-1).min()
