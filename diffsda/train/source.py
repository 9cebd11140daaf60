"""Where a run's clips come from: memory, a stream from disk, or the device itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from diffsda.data.clip import Clips
from diffsda.data.frames import FrameStore
from diffsda.errors import InputError
from diffsda.firststage.whiten import Whitening
from diffsda.recipe import Optim
from diffsda.train.data import Source
from diffsda.train.order import Order
from diffsda.train.resident import Resident, fits_on
from diffsda.train.streamed import Streamed

if TYPE_CHECKING:
    from diffsda.data.stream import Stream


def open_source(
    clips: Clips | Stream,
    whitening: Whitening | None,
    optim: Optim,
    order: Order,
    device: torch.device,
    resident: bool | None,
) -> Source | Streamed:
    """Return what deals out a run's clips.

    resident: keep stored frames on the device; left open, where they fit.
    Raises: InputError for what these clips cannot do.
    """
    if isinstance(clips, Clips):
        if resident:
            raise InputError(
                f"--resident: got {clips.name}, which is in memory already, expected a set of stored frames"
            )
        return Source(clips, whitening)
    if optim.window < 1:
        raise InputError(
            f"optim.window: got {optim.window:g} for clips that are read as windows of longer ones, expected 1; "
            "clips.window and clips.stride say what is taken"
        )
    if isinstance(clips, FrameStore):
        if resident or (resident is None and fits_on(clips, device)):
            return Resident(clips, whitening, order, device)
    elif resident:
        raise InputError(
            f"--resident: got {clips.name}, which is decoded as it is read, expected a set of stored frames"
        )
    return Streamed(clips, whitening, order)
