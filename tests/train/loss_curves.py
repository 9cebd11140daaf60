"""Loss curves of short runs, and whether one stays within what another seed would change."""

import numpy as np
from training_runs import clips, records, vector, video

from diffsda.data.clip import Clips
from diffsda.train.loop import Options, train

STEPS, WINDOW, SEEDS = 200, 20, range(3)


def walks(recipe, n=64):
    """Clips with something to learn: every one a level of its own and a slow walk around it."""
    noise = clips(recipe, n, frames=4 if recipe.clips.size else 8, seed=7).x
    level = clips(recipe, n, frames=2, seed=8).x[:, :1]
    if recipe.clips.size:
        level = recipe.clips.size * level.mean((-2, -1), keepdims=True)  # A colour, easily learnt.
    x = 0.4 * level + 0.15 * noise.cumsum(1)
    return Clips((0.5 * x / x.std()).astype(np.float32), None, None, name="walks")


RECIPES = {
    "tiny_vector": vector(dropout=0.1, batch=16, steps=STEPS, lr=2e-3, draws=2),
    "tiny_video": video(dropout=0.1, batch=4, steps=STEPS, lr=1e-3),
}


def curve(recipe, folder, seed, **options):
    """Train 200 steps; return the mean loss of every 20."""
    run = folder / f"run-{len(list(folder.iterdir()))}"
    train(recipe.replace(optim={"seed": seed}), walks(recipe), run, Options(log_every=1, **options))
    return np.array([record["loss"] for record in records(run)]).reshape(-1, WINDOW).mean(1)


def curves(recipe, folder, seeds=SEEDS, **options):
    """Return the curves of some seeds (seeds, windows)."""
    return np.stack([curve(recipe, folder, seed, **options) for seed in seeds])


def away(given, plain):
    """How far curves are from the plain ones of the same seeds, in seed spreads, where they are farthest.

    The spread is the standard deviation over all plain seeds in a window. Runs of one seed see the same clips and
    noise: what differs is what is compared, not the luck of the draw. At most 1 is within the spread.
    """
    return float((np.abs(given - plain[: len(given)]) / plain.std(0, ddof=1)).max())
