"""Presets of ours for real data that is free to fetch: sprites and speech."""

from __future__ import annotations

from diffsda.recipe import Backbone, Clips, Encoder, Noise, Optim, Recipe, Sampling

# Nine people's speech at 8 kHz, 600 ms of 40 mel bands, as `diffsda prepare speech` makes it; small enough for a
# CPU. The noise is that of the paper's speech sets. Two dynamic numbers a frame: with three or four their mean over an
# utterance tells the woman's voice from the man's. One noise level a clip: frames are denoised apart, so the objective
# stays the same, and a step costs less.
SPEECH = Recipe(
    name="speech",
    clips=Clips(modality="audio", frames=48, channels=40),
    backbone=Backbone(kind="mlp", width=32, dropout=0.1),  # ours
    encoder=Encoder(width=48, hidden=64, static=32, dynamic=2),  # ours
    noise=Noise(P_mean=-0.4, P_std=1.0, per_frame=False),
    sampling=Sampling(steps=18),  # ours
    optim=Optim(lr=2e-3, schedule="cosine", warmup=100, batch=32, steps=3000),  # ours
)

# Characters as `diffsda prepare sprites` renders them, 64 pixels. All numbers ours but the noise's, which are the
# paper's for pixels. The batch is what a step of about a second on two CPU cores allows; a GPU takes --optim.batch 32.
SPRITES = Recipe(
    name="sprites",
    clips=Clips(modality="video", frames=8, channels=3, size=64),
    backbone=Backbone(kind="unet", width=32, multipliers=(1, 1, 2, 2), attention=(3,), blocks=1, dropout=0.1),  # ours
    encoder=Encoder(
        width=32, multipliers=(1, 1, 2, 2), attention=(3,), blocks=1, hidden=128, static=64, dynamic=8
    ),  # ours
    noise=Noise(P_mean=-1.2, P_std=1.2),
    sampling=Sampling(steps=18),  # ours
    optim=Optim(lr=2e-4, schedule="constant", batch=2, steps=50_000),  # ours
)

# The same at 32 pixels, small enough to be trained on a CPU. All numbers ours.
SPRITES32 = SPRITES.replace(
    name="sprites32",
    clips={"size": 32},
    backbone={"multipliers": (1, 1, 2), "attention": (2,)},
    encoder={"multipliers": (1, 1, 2), "attention": (2,), "hidden": 64, "static": 32},
    optim={"lr": 4e-4, "schedule": "cosine", "warmup": 100, "batch": 8, "steps": 4000},
)

PRESETS = (SPEECH, SPRITES, SPRITES32)
