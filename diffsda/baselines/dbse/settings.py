"""Settings of DBSE for video, audio and series, and those of its published runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from diffsda.baselines.frame_size import PUBLISHED_SIZE, halvings
from diffsda.baselines.settings import MOST_WIDTH, Settings

_WIDTH = (1, MOST_WIDTH)
_WEIGHT = (0, 1e9)


@dataclass(frozen=True, kw_only=True)
class DBSESettings(Settings):
    """What the three kinds of DBSE have in common."""

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        **dict.fromkeys(("channels", "width", "static", "dynamic", "features", "hidden", "window"), _WIDTH),
        **dict.fromkeys(("weight_sequence", "weight_single", "weight_static", "weight_dynamic"), _WEIGHT),
        "annealing": (0, 1_000_000),
        "single": (0, 1_000_000),
        "draws": (1, 10_000),
        "lr": (1e-12, 1e3),
        "batch": (1, 1_000_000),
        "epochs": (1, 10_000_000),
    }

    static: int = 256
    """S, width of the static code."""
    dynamic: int = 256
    """D, width of a dynamic code."""
    hidden: int = 64
    """Hidden width of the static path and of the prior."""
    weight_sequence: float = 1.0
    """Weight of the reconstruction of the whole clip."""
    weight_single: float = 1.0
    """Weight of the reconstruction of the single element (audio: of the clip from the static code alone)."""
    weight_static: float = 1.0
    """Weight of the divergence of static codes from N(0, I)."""
    weight_dynamic: float = 1.0
    """Weight of the divergence of dynamic codes from their prior."""
    slot: Literal["zeros", "noise"] | None = None
    """What stands where the single element was, outside training: zeros, or new noise each time. None: zeros, or noise
    as published. In training it is noise always."""
    lr: float = 1e-3
    """Learning rate of Adam, constant."""
    batch: int = 32
    """Clips a step."""
    epochs: int = 500

    @property
    def noisy_slot(self) -> bool:
        """Whether the single element's slot holds noise outside training."""
        return self.as_published if self.slot is None else self.slot == "noise"


@dataclass(frozen=True, kw_only=True)
class VideoSettings(DBSESettings):
    """DBSE for square frames with values from 0 to 1, 64 x 64 as published."""

    channels: int = 3
    size: int = PUBLISHED_SIZE
    """Height and width of a frame: a power of two from 16 to 256."""
    width: int = 64
    """Channels of the first convolution."""
    features: int = 256
    """G, width of a frame's features."""
    decoder: Literal["transposed", "upsampling"] = "transposed"
    skip_first: bool = False
    """Leave the first frame out of the clip's reconstruction; it has a term of its own."""
    annealing: int = 0
    """Epochs a cycle of the divergences' weights; 0 keeps them constant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        halvings(self.size)


@dataclass(frozen=True, kw_only=True)
class AudioSettings(DBSESettings):
    """DBSE for chunks of magnitude spectrograms."""

    channels: int = 201
    """F, frequency bins of a spectrogram frame."""


@dataclass(frozen=True, kw_only=True)
class SeriesSettings(DBSESettings):
    """DBSE for time series cut into windows."""

    channels: int = 10
    """F, values of a step."""
    window: int = 4
    """w, steps of a window; a series is a whole number of them."""
    single: int = 0
    """Which window, from 0, the static code is taken from."""
    draws: int = 1
    """Times a series is repeated in a training step, each with draws of its own."""


SPRITES = VideoSettings(weight_sequence=5.0, lr=2e-3, batch=128, epochs=2000)
_MUG_SIZES = VideoSettings(static=64, dynamic=64, features=128, hidden=256, skip_first=True, annealing=100)
_MUG_WEIGHTS = _MUG_SIZES.replace(weight_sequence=87.0, weight_single=30.0, weight_static=15.0)
MUG = _MUG_WEIGHTS.replace(lr=1.5e-3, batch=64, epochs=2000)
TIMIT = AudioSettings(static=128, dynamic=128, hidden=256, weight_sequence=20.0, weight_single=100.0)
_PHYSIONET = SeriesSettings(static=8, dynamic=8, window=4, draws=10, batch=30, weight_static=0.2)
MORTALITY = _PHYSIONET.replace(weight_sequence=90.0, weight_single=9.0, weight_dynamic=0.01, epochs=251)
ICU = _PHYSIONET.replace(weight_sequence=80.0, weight_single=3.0, weight_dynamic=0.2, epochs=401)
_MONTHS = SeriesSettings(static=8, dynamic=8, window=24, draws=15, batch=10)
_AIR = _MONTHS.replace(single=27, weight_sequence=90.0, weight_single=20.0)
AIR_QUALITY = _AIR.replace(weight_static=0.001, weight_dynamic=0.3, epochs=201)
_ETT = _MONTHS.replace(channels=6, single=14, weight_sequence=85.0, weight_single=11.0)
ETTH1 = _ETT.replace(weight_static=0.01, weight_dynamic=0.001, epochs=301)
PUBLISHED: Mapping[str, DBSESettings] = {
    "sprites": SPRITES,
    "mug": MUG,
    "timit": TIMIT,
    "mortality": MORTALITY,
    "icu": ICU,
    "air_quality": AIR_QUALITY,
    "etth1": ETTH1,
}
"""The settings of DBSE's published runs, by data set and task; epochs are those the loops run, which for series is one
more than stated."""
