"""How the attention kernels reach their tensors: tiles of tokens by channels, along either contiguous axis.

A tensor (N, L, C) has a unit stride on its channels (``ALONG_C``, as when activations are channels_last) or on its
tokens (activations NCHW); ``stride`` is that of the other axis. Offsets within a sample fit 32 bits, which the caller
sees to; samples are placed with 64. Accesses of 16 bytes need a stride, an extent of the contiguous axis and a start
that are multiples of 16 bytes. ``EXACT`` says that tiles fit L and C, so that nothing has to be masked.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load(
    pointer, stride, tokens, channels, L: tl.constexpr, C: tl.constexpr, ALONG_C: tl.constexpr, EXACT: tl.constexpr
):
    """Return a tile, zero outside: tokens (T, 1) and channels (1, X), or (1, T) and (X, 1) for the transposed tile."""
    if ALONG_C:
        offsets = tokens * stride + channels
    else:
        offsets = channels * stride + tokens
    if EXACT:
        return tl.load(pointer + offsets)  # wide
    return tl.load(pointer + offsets, mask=(tokens < L) & (channels < C), other=0.0)  # wide


@triton.jit
def store(
    pointer,
    stride,
    tokens,
    channels,
    value,
    L: tl.constexpr,
    C: tl.constexpr,
    ALONG_C: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Write a tile in the tensor's dtype; tokens (T, 1), channels (1, X)."""
    if ALONG_C:
        offsets = tokens * stride + channels
    else:
        offsets = channels * stride + tokens
    value = value.to(pointer.dtype.element_ty)
    if EXACT:
        tl.store(pointer + offsets, value)  # wide
    else:
        tl.store(pointer + offsets, value, mask=(tokens < L) & (channels < C))  # wide
