"""DBSE of every kind, small, with weights that differ from zero, and clips it can tell apart."""

import pytest
import torch
from torch import nn

from diffsda.baselines.dbse.authors import build
from diffsda.baselines.dbse.settings import AudioSettings, SeriesSettings, VideoSettings

CODES = {"static": 5, "dynamic": 4, "hidden": 6}
SETTINGS = {
    "video": VideoSettings(**CODES, width=2, features=8),
    "upsampling": VideoSettings(**CODES, width=2, features=8, decoder="upsampling", skip_first=True),
    "audio": AudioSettings(**CODES, channels=9),
    "series": SeriesSettings(**CODES, channels=3, window=4, draws=2),
    "series, third window": SeriesSettings(**CODES, channels=3, window=4, single=2),
}
SHAPES = {"video": (3, 5, 3, 64, 64), "audio": (3, 7, 9), "series": (3, 20, 3)}
each = pytest.mark.parametrize("kind", SETTINGS)


def shape_of(kind):
    """Return the shape of a kind's clips."""
    return SHAPES["video" if kind == "upsampling" else kind.split(",")[0]]


def made(kind, **changes):
    """Return an untrained system, in evaluation."""
    torch.manual_seed(1)
    model = build(SETTINGS[kind].replace(**changes))
    for name, value in model.named_parameters():
        # The starting weights of convolutions and linear layers are near zero: too near to see what changes.
        if value.ndim > 1:
            nn.init.normal_(value, 0.0, value[0].numel() ** -0.5)
        elif name.endswith("bias"):
            nn.init.normal_(value, 0.0, 0.1)
    return model.eval()


def clips(kind):
    """Return three clips, the same each time."""
    x = torch.rand(shape_of(kind), generator=torch.Generator().manual_seed(2))
    if x.ndim == 5:
        # A bar of each clip's own grey wanders over a dark ground.
        x = 0.1 * x
        for i, clip in enumerate(x):
            for frame, image in enumerate(clip):
                image[:, 8 * frame : 8 * frame + 24] += 0.3 * (i + 1)
    return x
