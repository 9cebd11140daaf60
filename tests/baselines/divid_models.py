"""Small DiViD models for the tests, every weight random."""

from diffsda.baselines.divid.model import DiViD
from diffsda.baselines.divid.settings import DiViDSettings

ENCODER = {"encoder_width": 32, "encoder_multipliers": (1, 2), "encoder_blocks": 1, "static_hidden": 24}
READER = {"static": 16, "dynamic": 16, "layers": 2, "heads": 4, "feedforward": 24}
NETWORK = {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "context": 16, "context_heads": 4}
VIDEO = DiViDSettings(size=8, **ENCODER, **READER, **NETWORK, steps=100, sampling_steps=3)
VECTOR = VIDEO.replace(kind="vector", bound=3.0, channels=5, vector_width=24, vector_layers=2)
KINDS = {"video": VIDEO, "vector": VECTOR}


def clips(draw, settings, batch=2, frames=4):
    """Return random clips of a model's shape."""
    frame = (settings.channels, settings.size, settings.size) if settings.kind == "video" else (settings.channels,)
    return draw(batch, frames, *frame)


def built(randomise, settings, seed=0):
    """Return a model in evaluation mode with random weights."""
    return randomise(DiViD(settings), seed)
