"""Reading and writing runs of elements: 16 bytes at a time where they start at such multiples."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def read(tensor, at, mask, UNIT: tl.constexpr):
    """Load what lies at ``at``, 0 outside the mask; places and mask go by runs of UNIT elements."""
    if UNIT * tensor.dtype.element_ty.primitive_bitwidth >= 128:
        value = tl.load(tensor + at, mask=mask, other=0.0)  # wide
    else:
        value = tl.load(tensor + at, mask=mask, other=0.0)
    return value


@triton.jit
def write(tensor, at, value, mask, UNIT: tl.constexpr):
    """Store in the tensor's type; places and mask go by runs of UNIT elements."""
    value = value.to(tensor.dtype.element_ty)
    if UNIT * tensor.dtype.element_ty.primitive_bitwidth >= 128:
        tl.store(tensor + at, value, mask=mask)  # wide
    else:
        tl.store(tensor + at, value, mask=mask)
