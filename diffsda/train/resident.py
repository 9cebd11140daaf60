"""Stored frames kept whole on the device: a step's clips are gathered there, nothing is read or copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from diffsda.data.frames import FrameStore
from diffsda.errors import InputError
from diffsda.firststage.whiten import Whitening
from diffsda.train.data import Batch
from diffsda.train.order import Order
from diffsda.train.streamed import Streamed

TYPES = {"bf16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
PIECE = 4096
"""Frames on their way to the device at a time."""
SHARE = 0.5
"""Of the device's free memory that frames may take where it was left open; the rest is the network's."""


def fits_on(store: FrameStore, device: torch.device) -> bool:
    """Tell whether a device has room for all frames of a store, and for a network beside them."""
    return device.type == "cuda" and store.nbytes <= SHARE * torch.cuda.mem_get_info(device)[0]


class Resident(Streamed):
    """Deal out the clips of a store whose frames lie on the device as they are stored, two bytes a value for latents.

    The clips are those a ``Streamed`` reads from disk, bit for bit.
    Raises: InputError if the device has no room for them.
    """

    def __init__(self, store: FrameStore, whitening: Whitening | None, order: Order, device: torch.device) -> None:
        super().__init__(store, whitening, order)
        self.store, self.device = store, device
        most = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else store.nbytes
        if store.nbytes > most:
            raise InputError(
                f"--resident: the frames of {store.name} take {store.nbytes / 2**30:.1f} GiB, {device} has "
                f"{most / 2**30:.1f} free; leave it out, and they are read from disk"
            )
        self._stored = torch.empty(store.stored.shape, dtype=TYPES[store.dtype], device=device)
        # A piece at a time: the host need not hold what the device does.
        for start in range(0, len(self._stored), PIECE):
            piece = torch.from_numpy(np.array(store.stored[start : start + PIECE]))
            self._stored[start : start + PIECE] = piece.view(TYPES[store.dtype])

    def describe(self) -> str:
        """Say in one line where the clips are."""
        return f"{len(self)} clips, {self.store.nbytes / 2**20:.0f} MiB of {self.store.dtype} frames on {self.device}"

    def supply(self, steps: Sequence[int], parts: Sequence[slice]) -> Callable[[int], Batch]:
        """Return what gathers the batches of these steps: of all parts' rows, no others."""
        rows = slice(parts[0].start, parts[-1].stop)
        return lambda step: self._batch(self._gather(step, rows), rows)

    def _gather(self, step: int, rows: slice) -> Tensor:
        index = torch.from_numpy(self.store.rows(self.takes(step, rows)))
        if self.device.type == "cuda":
            # From page-locked memory, so that the host need not wait for what the device is doing.
            index = index.pin_memory().to(self.device, non_blocking=True)
        return self._stored[index].float()
