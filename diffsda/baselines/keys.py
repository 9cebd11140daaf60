"""Names of the released code's tensors and of ours, for the networks that DBSE and SPYL share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

Pairs = list[tuple[str, str]]
"""(theirs, ours): a tensor, or a module whose tensors go by the same names in both."""


def rename(tensors: Mapping[str, Tensor], pairs: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Return the tensors under their second names; those no pair speaks of are left out."""
    renamed = {}
    for a, b in pairs:
        for key, value in tensors.items():
            if key == a or key.startswith(f"{a}."):
                renamed[b + key[len(a) :]] = value
    return renamed


def back(pairs: Pairs) -> Pairs:
    """Return the pairs the other way round."""
    return [(b, a) for a, b in pairs]


def frame_encoder(theirs: str = "encoder", ours: str = "frame") -> Pairs:
    """Return the pairs of a ``FrameEncoder``."""
    blocks = [(f"{theirs}.c{i + 1}.main.{part}", f"{ours}.{i}.{part}") for i in range(4) for part in (0, 1)]
    return blocks + [(f"{theirs}.c5.{part}", f"{ours}.4.{part}") for part in (0, 1)]


def transposed_decoder(theirs: str = "decoder", ours: str = "decoder") -> Pairs:
    """Return the pairs of a ``TransposedDecoder``."""
    first = [(f"{theirs}.upc1.{part}", f"{ours}.1.{part}") for part in (0, 1)]
    blocks = [(f"{theirs}.upc{i}.main.{part}", f"{ours}.{i}.{part}") for i in (2, 3, 4) for part in (0, 1)]
    return [*first, *blocks, (f"{theirs}.upc5.0", f"{ours}.5.0")]


def upsampling_decoder(theirs: str = "decoder", ours: str = "decoder") -> Pairs:
    """Return the pairs of an ``UpsamplingDecoder``."""
    first = [(f"{theirs}.main.{part}", f"{ours}.1.{part}") for part in (0, 1)]
    parts = (("conv", 1), ("norm", 2))
    blocks = [(f"{theirs}.main.{i + 1}.{a}", f"{ours}.{i}.{b}") for i in (2, 3, 4, 5) for a, b in parts]
    return [*first, *blocks, (f"{theirs}.main.7", f"{ours}.6.0")]


def lstm_prior(theirs: str, ours: str = "prior") -> Pairs:
    """Return the pairs of an ``LSTMPrior`` whose released names begin with ``theirs`` ("z", say)."""
    cells = [
        (f"{theirs}_prior_lstm_ly{layer + 1}.{name}", f"{ours}.lstm.{name}_l{layer}")
        for layer in (0, 1)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    return [*cells, *gaussian_head(f"{theirs}_prior", f"{ours}.head")]


def gaussian_head(theirs: str, ours: str, inner: str = "") -> Pairs:
    """Return the pairs of a ``GaussianHead``: two layers, ``<theirs>_mean`` and ``<theirs>_logvar``."""
    return [(f"{theirs}_{part}{inner}", f"{ours}.{part}") for part in ("mean", "logvar")]
