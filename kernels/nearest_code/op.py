"""nearest_code behind the switch: the public function and the registered operation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels import first_use
from diffsda.kernels.arguments import tensors
from diffsda.kernels.backend import chosen, resolve
from diffsda.kernels.launch import FLOATS, launch, power_of_two, require, require_products
from diffsda.kernels.nearest_code import reference
from diffsda.kernels.nearest_code.plan import LARGEST, plan


def nearest_code(x: Tensor, codebook: Tensor) -> Tensor:
    """Return, for every row of x, the index of the nearest row of the codebook; the lowest one of equals.

    Shapes: x (N, D), codebook (K, D), result (N,) int64. No gradient; any strides; the dtypes may differ.
    Precision: float32, or float64 where an input is (``torch`` only); never lower, under autocast too. Codes whose
    distances differ by less than rounding may be exchanged between backends.
    Cost: x and the codebook read, 8 bytes a row written; the (N, K) matrix is never held whole (``torch``), or at
    all (our kernel).
    Source: VQGAN's quantiser. Differs: squared differences up to D = 8, |c|^2 - 2 x c beyond, see the reference. A code
    that is not a number is taken by the reference for every row, by our kernel for none.
    Raises: InputError for tensors that do not go together or that the chosen backend cannot take; BackendError where
    a backend asked for cannot run.
    """
    tensors("nearest_code", x=x, codebook=codebook)
    which = resolve("nearest_code", x.device)
    reference.check(x, codebook)
    if chosen("nearest_code") == "auto" and which != "torch":
        # Only auto chooses for itself: what our kernel does not take goes to the reference.
        which = "triton" if _takes(x, codebook) and (which == "triton" or _agrees(x, codebook)) else "torch"
    if which == "torch":
        return reference.nearest_code(x, codebook)
    if not torch.compiler.is_compiling():  # The operation asks again when it runs.
        require("nearest_code", codebook)
        # Mixed types are multiplied in the wider one.
        multiplied = x.shape[1] > reference.DIRECT and x.dtype == codebook.dtype
        (require_products if multiplied else require)("nearest_code", x)
    if not _fits(x, codebook):
        raise InputError(
            f"nearest_code: got x {tuple(x.shape)} and codebook {tuple(codebook.shape)}, expected at most "
            f"{LARGEST} codes and 2**31 blocks of rows for backend 'triton'; backend('torch') takes more"
        )
    found: Tensor = torch.ops.diffsda.nearest_code(x.detach(), codebook.detach())
    return found


def search(x: Tensor, codebook: Tensor) -> Tensor:
    """Launch the search; runs on meta tensors too."""
    from diffsda.kernels.nearest_code import fused

    (rows, width), codes = x.shape, codebook.shape[0]
    index = x.new_empty((rows,), dtype=torch.int64)
    cut = plan(codes, width)
    tensors = {"x": x, "index": index}
    sizes = {"N": rows, "x_row": x.stride(0), "x_column": x.stride(1)}
    constants = {"K": codes, "D": width, "ROWS": cut.rows, "CODES": cut.codes}
    grid = (-(-rows // cut.rows),)
    if cut.direct:
        # Turned over, so that neighbouring lanes read neighbouring codes.
        book = codebook.to(torch.float32).t().contiguous()
        launch(fused.nearest_direct, grid, {**tensors, "book": book, **sizes}, constants, warps=cut.warps)
        return index
    strides = {"book_row": codebook.stride(0), "book_column": codebook.stride(1)}
    native = x.dtype == codebook.dtype
    chunk = min(cut.chunk, max(16, power_of_two(width)))
    launch(
        fused.nearest_products,
        grid,
        {**tensors, "book": codebook, **sizes, **strides},
        {**constants, "CHUNK": chunk, "NATIVE": native},
        warps=cut.warps,
        stages=2,
    )
    return index


def _takes(x: Tensor, codebook: Tensor) -> bool:
    return x.dtype in FLOATS and codebook.dtype in FLOATS and x.shape[0] > 0 and _fits(x, codebook)


def _fits(x: Tensor, codebook: Tensor) -> bool:
    return codebook.shape[0] <= LARGEST and x.shape[0] < 2**31 * plan(*codebook.shape).rows


def _agrees(x: Tensor, codebook: Tensor) -> bool:
    """Compare by distance: near ties may fall either way."""

    def distances(find: Callable[[Tensor, Tensor], Tensor], x: Tensor, codebook: Tensor) -> Tensor:
        return (x.float() - codebook.float()[find(x, codebook)]).square().sum(1).sqrt()

    key = (x.dtype, codebook.dtype, x.shape[1], codebook.shape[0], x.stride(1) == 1)
    return first_use.agrees(
        "nearest_code",
        key,
        lambda x, book: distances(torch.ops.diffsda.nearest_code, x, book),
        lambda x, book: distances(reference.nearest_code, x, book),
        (x, codebook),
        gradients=False,
    )


@torch.library.custom_op("diffsda::nearest_code", mutates_args=())
def _search(x: Tensor, codebook: Tensor) -> Tensor:
    require("nearest_code", x)
    return search(x, codebook)


@_search.register_fake
def _(x: Tensor, codebook: Tensor) -> Tensor:
    return x.new_empty((x.shape[0],), dtype=torch.int64)
