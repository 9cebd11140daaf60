"""Recipes of the other systems: as published, and of ours for the sets that can be had."""

from __future__ import annotations

from diffsda.baselines.dbse.settings import MUG, AudioSettings, DBSESettings, VideoSettings
from diffsda.baselines.dbse.settings import PUBLISHED as DBSE
from diffsda.baselines.divid.settings import DiViDSettings
from diffsda.baselines.recipe import SystemRecipe
from diffsda.baselines.spyl.settings import SPRITES as SPYL
from diffsda.baselines.spyl.settings import SPYLSettings
from diffsda.recipe import Clips, Optim, Sampling

NO_CLIP = 1e9
"""A largest gradient norm that never holds anything back: these systems' code has none."""


def _adam(settings: DBSESettings | SPYLSettings) -> Optim:
    """Return the optimiser of a published run: Adam at a constant rate."""
    return Optim(
        lr=settings.lr,
        batch=settings.batch,
        epochs=settings.epochs,
        schedule="constant",
        weight_decay=0.0,
        clip=NO_CLIP,
    )


def _published(name: str, system: str, settings: DBSESettings | SPYLSettings, clips: Clips) -> SystemRecipe:
    return SystemRecipe(name=name, system=system, settings=settings, clips=clips, optim=_adam(settings))


_FRAMES = {"mortality": 80, "icu": 80, "air_quality": 672, "etth1": 672}
_SPRITES64 = Clips(modality="video", frames=8, channels=3, size=64)

PUBLISHED = (
    _published("dbse-sprites", "dbse-video", DBSE["sprites"], _SPRITES64),
    _published("dbse-mug", "dbse-video", MUG, Clips(modality="video", frames=15, channels=3, size=64)),
    _published("dbse-timit", "dbse-audio", DBSE["timit"], Clips(modality="audio", frames=68, channels=201)),
    *(
        _published(
            f"dbse-{name.replace('_', '-')}",
            "dbse-series",
            DBSE[name],
            Clips(modality="series", frames=frames, channels=DBSE[name].channels),  # type: ignore[attr-defined]
        )
        for name, frames in _FRAMES.items()
    ),
    _published("spyl-sprites", "spyl", SPYL, _SPRITES64),
)
"""The published runs, one recipe each."""

_VOWELS = Clips(modality="series", channels=12)
_SPEECH = Clips(modality="audio", frames=48, channels=40)
_SPRITES32 = Clips(modality="video", frames=8, channels=3, size=32)


def _ours(lr: float, batch: int, steps: int, clip: float = 1.0) -> Optim:
    return Optim(lr=lr, schedule="cosine", warmup=50, batch=batch, steps=steps, weight_decay=0.0, clip=clip)


# Widths are DiffSDA's for the set, S and D too where the system allows it; numbers of these recipes are ours.
VOWELS = (
    SystemRecipe(
        name="dbse-vowels",
        system="dbse-audio",
        settings=AudioSettings(static=24, dynamic=4, hidden=64, weight_sequence=20.0, weight_single=20.0),
        clips=_VOWELS,
        optim=_ours(1e-3, 32, 1500),
    ),
    SystemRecipe(
        name="spyl-vowels",
        system="spyl",
        settings=SPYLSettings(kind="vector", width=32, features=64, hidden=64, static=24, dynamic=4, warm_up=50),
        clips=_VOWELS,
        optim=_ours(1e-3, 32, 1500),
    ),
    SystemRecipe(
        name="divid-vowels",
        system="divid",
        settings=DiViDSettings(
            kind="vector",
            encoder_width=64,
            static=24,
            static_hidden=64,
            dynamic=24,
            heads=4,
            feedforward=64,
            context=48,
            context_heads=4,
            vector_width=96,
            vector_layers=3,
            embedding=24,
            bound=3.0,  # whitened clips seldom go beyond; free, some swaps run away
        ),
        clips=_VOWELS,
        sampling=Sampling(steps=50),
        optim=_ours(1e-3, 32, 1500),
    ),
)
"""Japanese Vowels."""

SPEECH = (
    SystemRecipe(
        name="dbse-speech",
        system="dbse-audio",
        settings=AudioSettings(static=32, dynamic=4, hidden=64, weight_sequence=20.0, weight_single=100.0),
        clips=_SPEECH,
        optim=_ours(1e-3, 32, 3000),
    ),
    SystemRecipe(
        name="spyl-speech",
        system="spyl",
        settings=SPYLSettings(kind="vector", width=32, features=64, hidden=64, static=32, dynamic=4, warm_up=1),
        clips=_SPEECH,
        optim=_ours(1e-3, 32, 3000),
    ),
    SystemRecipe(
        name="divid-speech",
        system="divid",
        settings=DiViDSettings(
            kind="vector",
            encoder_width=64,
            static=32,
            static_hidden=64,
            dynamic=32,
            heads=4,
            feedforward=64,
            context=64,
            context_heads=4,
            vector_width=128,
            vector_layers=3,
            embedding=40,
            bound=3.0,
        ),
        clips=_SPEECH,
        sampling=Sampling(steps=50),
        optim=_ours(1e-3, 32, 3000),
    ),
)
"""Speech as `diffsda prepare speech` makes it."""

SPRITES32 = (
    SystemRecipe(
        name="dbse-sprites32",
        system="dbse-video",
        settings=VideoSettings(width=32, static=32, dynamic=32, features=64, hidden=64, weight_sequence=5.0),
        clips=_SPRITES32,
        optim=_ours(1e-3, 8, 4000),
    ),
    SystemRecipe(
        name="spyl-sprites32",
        system="spyl",
        settings=SPYLSettings(width=32, features=64, hidden=64, static=32, dynamic=8, warm_up=1),
        clips=_SPRITES32,
        optim=_ours(1e-3, 8, 4000),
    ),
    SystemRecipe(
        name="divid-sprites32",
        system="divid",
        settings=DiViDSettings(
            encoder_width=32,
            encoder_multipliers=(1, 1, 2),
            static=64,
            static_hidden=128,
            dynamic=64,
            heads=8,
            feedforward=128,
            width=32,
            multipliers=(1, 1, 2),
            blocks=1,
            attention=(8,),
            context=64,
            context_heads=4,
        ),
        clips=_SPRITES32,
        sampling=Sampling(steps=50),
        optim=_ours(4e-4, 8, 4000),
    ),
)
"""Characters as `diffsda prepare sprites --size 32` renders them."""

PRESETS: dict[str, SystemRecipe] = {
    recipe.name: recipe for part in (PUBLISHED, VOWELS, SPEECH, SPRITES32) for recipe in part
}
