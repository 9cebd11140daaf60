"""From a configuration to its network."""

from __future__ import annotations

from diffsda.firststage.kl import VariationalAutoencoder
from diffsda.firststage.recipe import FirstStage
from diffsda.firststage.vq import QuantisedAutoencoder


def build(stage: FirstStage) -> QuantisedAutoencoder | VariationalAutoencoder:
    """Return a first stage with fresh weights, from torch's generator."""
    return QuantisedAutoencoder(stage) if stage.kind == "vq" else VariationalAutoencoder(stage)
