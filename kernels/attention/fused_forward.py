"""Attention with one head over at most 256 tokens, forward: q, k, v (N, L, C) -> o (N, L, C), lse (N, L).

One program covers a block of ROWS queries of one sample and all its keys: the scores (ROWS, L) are accumulated over C
in chunks, stay in registers as float32, become probabilities there, and meet v chunk by chunk. The width C is
therefore free (flash kernels keep (ROWS, C) and stop at 256); the number of tokens is not: 256 at most.
Bytes an element of q, k, v and o: q read once and o written once; k and v read once from memory and
ceil(L / ROWS) - 1 times more from the L2 cache. Besides, 4 bytes a token are written for the log-sum-exp.
In float32: scores, softmax, both sums of products (bfloat16 and float16 operands on the tensor cores, float32 operands
as they are, without TF32), log-sum-exp.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels.attention.fused_tile import load, store


@triton.jit
def attention_forward(
    q,
    k,
    v,
    o,
    lse,
    q_sample,
    q_stride,
    k_sample,
    k_stride,
    v_sample,
    v_stride,
    o_sample,
    o_stride,
    scale,
    L: tl.constexpr,
    C: tl.constexpr,
    Q_ALONG_C: tl.constexpr,
    K_ALONG_C: tl.constexpr,
    V_ALONG_C: tl.constexpr,
    O_ALONG_C: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    CHUNK: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Attend from ROWS queries of a sample to all its keys; grid (N, blocks of queries)."""
    sample = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    keys = tl.arange(0, KEYS)
    q += sample * q_sample
    k += sample * k_sample
    v += sample * v_sample
    o += sample * o_sample

    scores = tl.zeros((ROWS, KEYS), tl.float32)
    for start in range(0, C, CHUNK):
        c = start + tl.arange(0, CHUNK)
        a = load(q, q_stride, rows[:, None], c[None, :], L, C, Q_ALONG_C, EXACT)
        b = load(k, k_stride, keys[None, :], c[:, None], L, C, K_ALONG_C, EXACT)  # (CHUNK, KEYS)
        scores = tl.dot(a, b, scores, input_precision="ieee")
    scores = tl.where(keys[None, :] < L, scores * scale, float("-inf"))
    top = tl.max(scores, 1)
    p = tl.exp(scores - top[:, None])
    total = tl.sum(p, 1)
    tl.store(lse + sample * L + rows, top + tl.log(total), mask=rows < L)

    p = p.to(v.dtype.element_ty)
    share = (1.0 / total)[:, None]
    for start in range(0, C, CHUNK):
        c = start + tl.arange(0, CHUNK)
        b = load(v, v_stride, keys[:, None], c[None, :], L, C, V_ALONG_C, EXACT)  # (KEYS, CHUNK)
        y = tl.dot(p, b, input_precision="ieee") * share
        store(o, o_stride, rows[:, None], c[None, :], y, L, C, O_ALONG_C, EXACT)
