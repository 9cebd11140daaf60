"""nearest_code against eager torch, which holds the matrix of distances, and a copy of as many bytes."""

from __future__ import annotations

import torch

from diffsda.bench.kernel_cases import EAGER, OURS, Case, Peers, copied
from diffsda.kernels import backend
from diffsda.kernels.nearest_code import cost, nearest_code, reference

# Rows, codes, width: the VQ-f8 first stage's codebook over 10 and 160 frames of 32 x 32 cells.
SHAPES = ((10 * 1024, 16384, 4), (160 * 1024, 16384, 4))


def cases() -> list[Case]:
    """Return the first stage's look-ups."""
    found = []
    for rows, codes, width in SHAPES:
        moved = cost.forward(rows, codes, width, torch.float32)
        # Many rows make the reference a long loop, which the compiler unrolls.
        setting = {"shape": (rows, codes, width), "compile": rows < 2**14}
        found.append(Case("nearest_code", f"{rows} of {codes}x{width}", "float32", "forward", moved, setting))
    return found


def peers(case: Case, device: torch.device) -> Peers:
    """Return everyone on the same vectors. Codes are compared by distance: ties fall either way."""
    rows, codes, width = case.setting["shape"]
    x, book = torch.randn((rows, width), device=device), torch.randn((codes, width), device=device)

    def distances(result):
        (index,) = result
        return (((x.double() - book.double()[index]) ** 2).sum(1),)

    def call(function):
        @torch.no_grad()
        def run():
            return (function(x, book),)

        return run

    def ours(x, book):
        with backend("triton"):
            return nearest_code(x, book)

    def exact():
        # In pieces: the matrix of all distances in float64 is 21 GB.
        pieces = [torch.cdist(part.double(), book.double()).min(1).values ** 2 for part in x.split(8192)]
        return (torch.cat(pieces),)

    calls = {OURS: call(ours), EAGER: call(reference.nearest_code), "copy": copied(case.cost.useful, device)}
    compiled = torch.compile(reference.nearest_code, dynamic=False)
    return Peers(calls, exact, lambda: call(compiled), seen=distances)
