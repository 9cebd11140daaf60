"""The network of a sequence judge: frames, then time, then one head a label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a network is built for: frames of one shape, and labels with their numbers of classes."""

    frame: tuple[int, ...]
    """(C, H, W) of a picture, 8 pixels a side at least, or (F,) of a vector."""
    classes: dict[str, int]
    frame_labels: tuple[str, ...] = ()
    """Labels that are read of single frames as well."""
    channels: int = 16
    """Channels after the first halving of a picture; doubled by each further one, up to eight times."""
    features: int = 128
    """Numbers a frame becomes."""
    hidden: int = 64
    """State of the recurrent network, each way."""


class SequenceNetwork(nn.Module):
    """Frames are encoded one by one, a two-way LSTM reads the encodings of a clip, heads read what is left of it.

    A head sees the last states each way beside the mean encoding. Input is standardised first, by ``mean`` and ``std``.

    Source: the judges of DBSE, SPYL and MSD: DCGAN encoder, BiLSTM, a softmax head a label; MSD's per-frame heads for
    what must not change within a clip. Differs: they have 64 channels, 128 features, 256 hidden and two-layer heads,
    which do not see the mean; padding never reaches batch statistics or states; pictures of any size, vectors through
    two linear layers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, form: Form) -> None:
        super().__init__()
        picture = len(form.frame) == 3
        shape = (form.frame[0], 1, 1) if picture else form.frame
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.encoder = _pictures(form) if picture else _vectors(form)
        self.time = nn.LSTM(form.features, form.hidden, batch_first=True, bidirectional=True)
        self.width = 2 * form.hidden + form.features
        # Heads go by number: names of labels may hold what names of modules may not.
        self.heads = nn.ModuleList([nn.Linear(self.width, classes) for classes in form.classes.values()])
        self.frame_heads = nn.ModuleList([nn.Linear(form.features, form.classes[name]) for name in form.frame_labels])
        self.labels, self.frame_labels = tuple(form.classes), form.frame_labels

    def encode(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a clip becomes (N, width), and its valid frames (M, features), of x (N, V, ...)."""
        clips, frames = x.shape[:2]
        valid = torch.arange(frames, device=x.device)[None] < lengths[:, None]  # (N, V)
        encoded = self.encoder((x[valid] - self.mean) / self.std)  # (M, features)
        laid = encoded.new_zeros(clips, frames, encoded.shape[1])
        laid[valid] = encoded
        packed = pack_padded_sequence(laid, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.time(packed)  # (2, N, hidden): the last state forward, the first backward
        return torch.cat([last[0], last[1], laid.sum(1) / lengths[:, None]], dim=1), encoded

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        clip, frames = self.encode(x, lengths)
        whole = {name: head(clip) for name, head in zip(self.labels, self.heads, strict=True)}
        single = {name: head(frames) for name, head in zip(self.frame_labels, self.frame_heads, strict=True)}
        return whole, single


def _pictures(form: Form) -> nn.Module:
    """Halve a picture until four to seven pixels are left, then take them all at once."""
    held, high, wide = form.frame
    layers: list[nn.Module] = []
    channels = form.channels
    while min(high, wide) >= 8:
        layers += [nn.Conv2d(held, channels, 4, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, True)]
        held, channels = channels, min(2 * channels, 8 * form.channels)
        high, wide = high // 2, wide // 2
    last = nn.Conv2d(held, form.features, (high, wide), bias=False)
    return nn.Sequential(*layers, last, nn.Flatten(), nn.BatchNorm1d(form.features), nn.LeakyReLU(0.2))


def _vectors(form: Form) -> nn.Module:
    wide = form.features
    return nn.Sequential(
        nn.Linear(form.frame[0], wide), nn.LeakyReLU(0.2, True), nn.Linear(wide, wide), nn.LeakyReLU(0.2, True)
    )
