"""Will the patient die in hospital? An LSTM over d, with s beside its last state."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from diffsda.evaluate.classification import average_precision
from diffsda.evaluate.codes import Codes
from diffsda.evaluate.heads.fitting import fit, hold_out, seeded, tensor
from diffsda.evaluate.lengths import Array, Floats

WIDTH, INNER = 32, 16
PASSES, BATCH, LR, CLIP = 41, 30, 1e-3, 1.0
HELD_OUT = 0.2
"""Share of the records by whose average precision the best pass is chosen."""
QUARTER = 4
"""The authors read the state of this part of the clip: their code is that of window-level factors."""


class MortalityHead(nn.Module):
    """A logit from s (B, S), d (B, V, D) and the frame (B,) whose state is read.

    Source: the authors' code (DBSE's head): an LSTM of 32, then 16 units with dropout 0.5.
    """

    def __init__(self, static: int, dynamic: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dynamic, WIDTH, batch_first=True)
        self.out = nn.Sequential(nn.Linear(WIDTH + static, INNER), nn.ReLU(), nn.Dropout(0.5), nn.Linear(INNER, 1))

    def forward(self, static: Tensor, dynamic: Tensor, at: Tensor) -> Tensor:
        states, _ = self.lstm(dynamic)  # (B, V, 32)
        last = states[torch.arange(len(at)), at]
        return self.out(torch.cat([last, static], 1))[:, 0]


def mortality_scores(
    known: Codes, death: Array, asked: Codes, *, as_published: bool = False, seed: int = 0, passes: int = PASSES
) -> Floats:
    """Fit a head on some patients and return how likely others are to die (M,), in [0, 1].

    Shapes: death (N,) of 0 and 1, for ``known``. The pass with the best average precision on a fifth of the known
    patients, which is not trained on, is kept.
    as_published: the state after a quarter of the clip is read, not the one after its last valid frame.
    Differs: the authors choose on their validation part.
    Raises: InputError if one class is missing or has one patient only.
    """
    places, look = hold_out(death, HELD_OUT, seed)
    with seeded(seed):
        head = MortalityHead(known.static.shape[1], known.dynamic.shape[2])
        s, d, at = tensor(known.static), tensor(known.dynamic), _frames(known, as_published)
        truth, rows = tensor(death), torch.from_numpy(places)

        def loss(head: MortalityHead, chosen: Tensor, number: int) -> Tensor:
            these = rows[chosen]
            return binary_cross_entropy_with_logits(head(s[these], d[these], at[these]), truth[these])

        def worth(head: MortalityHead) -> float:
            return average_precision(death[look], head(s[look], d[look], at[look]).numpy())

        fit(head, loss, len(rows), passes=passes, batch=BATCH, lr=LR, clip=CLIP, worth=worth)
        with torch.no_grad():
            logits = head(tensor(asked.static), tensor(asked.dynamic), _frames(asked, as_published))
    return logits.sigmoid().double().numpy()


def _frames(codes: Codes, as_published: bool) -> Tensor:
    last = codes.lengths // QUARTER if as_published else codes.lengths
    return torch.from_numpy(np.maximum(last - 1, 0))
