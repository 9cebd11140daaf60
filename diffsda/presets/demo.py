"""Small presets of ours: the demonstration on embedded data, and tiny ones for tests and first tries."""

from __future__ import annotations

from diffsda.recipe import Backbone, Clips, Encoder, Noise, Optim, Recipe, Sampling

# Japanese Vowels: 12 LPC cepstra, 7 to 29 frames. All numbers ours, chosen on a held-out third of the training part.
DEMO = Recipe(
    name="demo",
    clips=Clips(modality="series", channels=12),
    backbone=Backbone(kind="mlp", width=48, dropout=0.1),
    encoder=Encoder(width=32, hidden=64, static=24, dynamic=1),
    noise=Noise(P_mean=-0.8, P_std=1.0, per_frame=False),
    sampling=Sampling(steps=18),
    optim=Optim(lr=1e-3, schedule="cosine", warmup=50, batch=32, steps=1500),
)

TINY_VIDEO = Recipe(
    name="tiny_video",
    clips=Clips(modality="video", frames=8, channels=3, size=16),
    backbone=Backbone(kind="unet", width=32, multipliers=(1, 2), attention=(1,), blocks=1, dropout=0.1),
    encoder=Encoder(width=32, multipliers=(1, 2), attention=(1,), blocks=1, hidden=64, static=16, dynamic=4),
    noise=Noise(P_mean=-1.2, P_std=1.2),
    sampling=Sampling(steps=18),
    optim=Optim(lr=3e-4, schedule="constant", batch=16, steps=2000),
)

TINY_VECTOR = Recipe(
    name="tiny_vector",
    clips=Clips(modality="series", frames=24, channels=6),
    backbone=Backbone(kind="mlp", width=16, dropout=0.1),
    encoder=Encoder(width=16, hidden=32, static=8, dynamic=2),
    noise=Noise(P_mean=-0.4, P_std=1.0),
    sampling=Sampling(steps=18),
    optim=Optim(lr=1e-3, schedule="constant", batch=32, steps=2000),
)

PRESETS = (DEMO, TINY_VIDEO, TINY_VECTOR)
