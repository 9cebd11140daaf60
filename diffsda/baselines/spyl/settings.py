"""Settings of SPYL, and those of its published run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from diffsda.baselines.frame_size import PUBLISHED_SIZE, halvings
from diffsda.baselines.settings import MOST_WIDTH, Settings
from diffsda.errors import InputError

_WIDTHS = ("channels", "width", "features", "hidden", "static", "dynamic")
WEIGHTS = (
    *("weight_reconstruction", "weight_static", "weight_dynamic", "weight_information"),
    *("weight_contrast_static", "weight_contrast_dynamic"),
)


@dataclass(frozen=True, kw_only=True)
class SPYLSettings(Settings):
    """SPYL for square frames with values from 0 to 1, or for vectors (ours: the released code knows video only)."""

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        **dict.fromkeys(_WIDTHS, (1, MOST_WIDTH)),
        **dict.fromkeys(WEIGHTS, (0, 1e9)),
        "temperature": (1e-6, 1e6),
        "bank": (1, 1_000_000),
        "negatives": (1, 1_000_000),
        "items": (1, 1_000_000_000),
        "warm_up": (0, 1_000_000),
        "lr": (1e-12, 1e3),
        "batch": (1, 1_000_000),
        "epochs": (1, 10_000_000),
    }

    kind: Literal["video", "vector"] = "video"
    """What a frame is: an image (C, H, H), or a vector (F,) as in audio and series."""
    channels: int = 3
    """Channels C of an image, or features F of a vector."""
    size: int = PUBLISHED_SIZE
    """Video: height and width H of a frame, a power of two from 16 to 256."""
    width: int = 64
    """Video: channels of the first convolution. Vectors: a quarter of the decoder's layer width."""
    features: int = 128
    """G, width of a frame's features."""
    hidden: int = 256
    """Hidden width of the recurrent networks and of the prior."""
    static: int = 256
    """S, width of the static code."""
    dynamic: int = 32
    """D, width of a dynamic code."""
    weight_reconstruction: float = 10.0
    weight_static: float = 5.0
    """Weight of the divergence of static codes from N(0, I)."""
    weight_dynamic: float = 1.0
    """Weight of the divergence of dynamic codes from their prior."""
    weight_information: float = 1.0
    """Weight of the mutual information of static and dynamic codes."""
    weight_contrast_static: float = 1.0
    weight_contrast_dynamic: float = 1.0
    warm_up: int = 50
    """Epochs without contrast."""
    temperature: float = 0.5
    hardness: Literal["soft", "semi", "hard"] = "soft"
    """Which of the bank are negatives: the farthest, the middle third, or any of the farthest two thirds."""
    bank: int | None = None
    """Clips generated for the negatives of a step; None makes four times as many as there are clips."""
    negatives: int | None = None
    """Negatives of every clip; None takes half of the bank."""
    items: int = 1
    """Training clips in the mutual information's weights, which adds their logarithm; see ``mutual_information``."""
    lr: float = 2e-3
    """Learning rate of Adam, constant."""
    batch: int = 128
    """Clips a step."""
    epochs: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        halvings(self.size)
        if self.bank is not None and self.negatives is not None and self.negatives > self.bank:
            raise InputError(f"negatives: got {self.negatives} of a bank of {self.bank}, expected at most as many")


SPRITES = SPYLSettings()
PUBLISHED: Mapping[str, SPYLSettings] = {"sprites": SPRITES}
"""The settings of SPYL's published runs; code was released for this data set alone."""
SPRITES_CLIPS = 6687
"""Training clips of that run, its ``items`` where it is computed as published."""
