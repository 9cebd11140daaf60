"""Video presets: Table 6 of the paper, and the released variants where they differ."""

from __future__ import annotations

from diffsda.recipe import Backbone, Clips, Encoder, Noise, Optim, Recipe, Sampling

MUG = Recipe(
    name="mug",
    clips=Clips(modality="video", frames=15, channels=3, size=64, stride=2),
    backbone=Backbone(kind="unet", width=64, multipliers=(1, 2, 2, 2), attention=(2,), blocks=2, dropout=0.1),
    encoder=Encoder(width=64, multipliers=(1, 2, 2, 2), attention=(2,), blocks=2, hidden=128, static=256, dynamic=64),
    noise=Noise(P_mean=-1.2, P_std=1.2),
    sampling=Sampling(steps=36),  # 71 evaluations
    optim=Optim(lr=1e-4, schedule="authors", batch=8, epochs=1600),
)

# The released weights were sampled with 63 evaluations instead of the paper's 71.
MUG_RELEASED = MUG.replace(name="mug_released", sampling={"steps": 32})

# A released variant the paper does not list.
MUG_SMALL = MUG.replace(name="mug_small", encoder={"hidden": 256, "static": 128, "dynamic": 16})

TAICHI = Recipe(
    name="taichi",
    clips=Clips(modality="video", frames=10, channels=3, size=64, stride=4, flip=True, reverse=True, jitter=0.1),
    backbone=Backbone(kind="unet", width=64, multipliers=(1, 2, 2, 2), attention=(2,), blocks=2, dropout=0.1),
    encoder=Encoder(width=64, multipliers=(1, 2, 2, 2), attention=(2,), blocks=2, hidden=1024, static=512, dynamic=64),
    noise=Noise(P_mean=-1.2, P_std=1.2),
    sampling=Sampling(steps=32),
    optim=Optim(lr=1e-4, schedule="authors", batch=16, epochs=40 * 150),  # the data set repeats 150 times
)

# 256-pixel faces, encoded by a VQ-f8 first stage to 4 x 32 x 32.
VOXCELEB = Recipe(
    name="voxceleb",
    clips=Clips(modality="video", frames=10, channels=4, size=32, latent=True, stride=2),
    backbone=Backbone(kind="unet", width=192, multipliers=(1, 2, 2, 2), attention=(2,), blocks=2, dropout=0.1),
    encoder=Encoder(width=192, multipliers=(1, 2, 2, 2), attention=(2,), blocks=2, hidden=1024, static=512, dynamic=12),
    noise=Noise(P_mean=-0.4, P_std=1.0),
    sampling=Sampling(steps=32),
    optim=Optim(lr=1e-4, schedule="authors", batch=16, epochs=100),
)

CELEBV_HQ = VOXCELEB.replace(name="celebv_hq", encoder={"static": 1024, "dynamic": 16}, optim={"epochs": 450})

PRESETS = (MUG, MUG_RELEASED, MUG_SMALL, TAICHI, VOXCELEB, CELEBV_HQ)
