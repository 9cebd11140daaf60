"""Audio presets: Table 7 of the paper, and the variants of the authors' README."""

from __future__ import annotations

from diffsda.recipe import Backbone, Clips, Encoder, Noise, Optim, Recipe, Sampling

TIMIT = Recipe(
    name="timit",
    clips=Clips(modality="audio", frames=68, channels=80),
    backbone=Backbone(kind="mlp", width=256, dropout=0.1),
    encoder=Encoder(width=128, hidden=128, static=32, dynamic=4),
    noise=Noise(P_mean=-0.4, P_std=1.0),
    sampling=Sampling(steps=32),
    optim=Optim(lr=1e-4, schedule="authors", batch=128, epochs=750),
)

LIBRISPEECH = Recipe(
    name="librispeech",
    clips=Clips(modality="audio", frames=68, channels=80),
    backbone=Backbone(kind="mlp", width=64, dropout=0.1),
    encoder=Encoder(width=128, hidden=256, static=32, dynamic=2),
    noise=Noise(P_mean=-0.4, P_std=1.0),
    sampling=Sampling(steps=32),
    optim=Optim(lr=1e-3, schedule="authors", batch=128, epochs=200),
)

TIMIT_README = TIMIT.replace(
    name="timit_readme",
    backbone={"width": 201},
    encoder={"width": 201, "hidden": 256, "static": 16, "dynamic": 8},
    optim={"batch": 64, "epochs": 1000},
)

LIBRISPEECH_README = LIBRISPEECH.replace(
    name="librispeech_readme",
    backbone={"width": 128},
    encoder={"static": 16, "dynamic": 8},
    optim={"lr": 1e-4},
)

PRESETS = (TIMIT, LIBRISPEECH, TIMIT_README, LIBRISPEECH_README)
