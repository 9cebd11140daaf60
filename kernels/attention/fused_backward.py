"""Gradients of the single-head attention, with the probabilities worked out again from q, k and the log-sum-exp.

``attention_backward_queries``: a program covers ROWS queries and all keys of a sample, and writes their dq and delta,
the mean of dp over keys weighted by p (the same number as the row sum of do * o, without reading o). Where ROWS covers
all L tokens (WHOLE) it writes dk and dv as well, and is the whole backward pass.
``attention_backward_keys``: a program covers ROWS keys and all queries, and writes their dk and dv.
Every element of a gradient is written once, by one program, in a fixed order of sums: no atomics.

Bytes an element: q, k, v and do read, dq, dk and dv written. Whole: q, k and do are read a second time (from the
caches). Otherwise each kernel reads all four, what it multiplies last twice, and what it shares with the other blocks
once a block. 4 bytes a token of log-sum-exp read and, otherwise, of delta written and read.
In float32: probabilities, their gradients, delta, all sums of products. Tokens: 256 at most.
"""

from __future__ import annotations

import triton
import triton.language as tl

from diffsda.kernels.attention.fused_tile import load, store


@triton.jit
def attention_backward_queries(
    q,
    k,
    v,
    do,
    lse,
    delta,
    dq,
    dk,
    dv,
    q_sample,
    q_stride,
    k_sample,
    k_stride,
    v_sample,
    v_stride,
    do_sample,
    do_stride,
    d_sample,
    dq_stride,
    dk_stride,
    dv_stride,
    scale,
    L: tl.constexpr,
    C: tl.constexpr,
    Q_ALONG_C: tl.constexpr,
    K_ALONG_C: tl.constexpr,
    V_ALONG_C: tl.constexpr,
    DO_ALONG_C: tl.constexpr,
    ROWS: tl.constexpr,
    OTHERS: tl.constexpr,
    CHUNK: tl.constexpr,
    EXACT: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """Write dq and delta of ROWS queries, or every gradient of a sample; grid (N, blocks of queries)."""
    sample = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    keys = tl.arange(0, OTHERS)
    q += sample * q_sample
    k += sample * k_sample
    v += sample * v_sample
    do += sample * do_sample
    dq += sample * d_sample

    scores = tl.zeros((ROWS, OTHERS), tl.float32)
    dp = tl.zeros((ROWS, OTHERS), tl.float32)
    for start in range(0, C, CHUNK):
        c = start + tl.arange(0, CHUNK)
        a = load(q, q_stride, rows[:, None], c[None, :], L, C, Q_ALONG_C, EXACT)
        b = load(k, k_stride, keys[None, :], c[:, None], L, C, K_ALONG_C, EXACT)
        scores = tl.dot(a, b, scores, input_precision="ieee")
        a = load(do, do_stride, rows[:, None], c[None, :], L, C, DO_ALONG_C, EXACT)
        b = load(v, v_stride, keys[None, :], c[:, None], L, C, V_ALONG_C, EXACT)
        dp = tl.dot(a, b, dp, input_precision="ieee")
    # Queries that are not there get no probability.
    norm = tl.load(lse + sample * L + rows, mask=rows < L, other=float("inf"))
    p = tl.where(keys[None, :] < L, tl.exp(scores * scale - norm[:, None]), 0.0)
    # The log-sum-exp is rounded, so that p sums to nearly one: divided by what it does sum to, the mean is exact where
    # dp hardly varies and little is left of dp - weighted.
    weighted = tl.sum(p * dp, 1) / tl.where(rows < L, tl.sum(p, 1), 1.0)
    ds = (p * (dp - weighted[:, None])).to(q.dtype.element_ty)

    if WHOLE:
        dk += sample * d_sample
        dv += sample * d_sample
        ds_t = tl.trans(ds)
        p_t = tl.trans(p.to(q.dtype.element_ty))
        for start in range(0, C, CHUNK):
            c = start + tl.arange(0, CHUNK)
            b = load(k, k_stride, keys[:, None], c[None, :], L, C, K_ALONG_C, EXACT)
            y = tl.dot(ds, b, input_precision="ieee") * scale
            store(dq, dq_stride, rows[:, None], c[None, :], y, L, C, Q_ALONG_C, EXACT)
            b = load(q, q_stride, rows[:, None], c[None, :], L, C, Q_ALONG_C, EXACT)
            y = tl.dot(ds_t, b, input_precision="ieee") * scale
            store(dk, dk_stride, keys[:, None], c[None, :], y, L, C, K_ALONG_C, EXACT)
            b = load(do, do_stride, rows[:, None], c[None, :], L, C, DO_ALONG_C, EXACT)
            y = tl.dot(p_t, b, input_precision="ieee")
            store(dv, dv_stride, keys[:, None], c[None, :], y, L, C, V_ALONG_C, EXACT)
    else:
        tl.store(delta + sample * L + rows, weighted, mask=rows < L)
        for start in range(0, C, CHUNK):
            c = start + tl.arange(0, CHUNK)
            b = load(k, k_stride, keys[:, None], c[None, :], L, C, K_ALONG_C, EXACT)
            y = tl.dot(ds, b, input_precision="ieee") * scale
            store(dq, dq_stride, rows[:, None], c[None, :], y, L, C, Q_ALONG_C, EXACT)


@triton.jit
def attention_backward_keys(
    q,
    k,
    v,
    do,
    lse,
    delta,
    dk,
    dv,
    q_sample,
    q_stride,
    k_sample,
    k_stride,
    v_sample,
    v_stride,
    do_sample,
    do_stride,
    d_sample,
    dk_stride,
    dv_stride,
    scale,
    L: tl.constexpr,
    C: tl.constexpr,
    Q_ALONG_C: tl.constexpr,
    K_ALONG_C: tl.constexpr,
    V_ALONG_C: tl.constexpr,
    DO_ALONG_C: tl.constexpr,
    ROWS: tl.constexpr,
    OTHERS: tl.constexpr,
    CHUNK: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Write dk and dv of ROWS keys; grid (N, blocks of keys). Tiles here are (keys, queries)."""
    sample = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    queries = tl.arange(0, OTHERS)
    q += sample * q_sample
    k += sample * k_sample
    v += sample * v_sample
    do += sample * do_sample
    dk += sample * d_sample
    dv += sample * d_sample

    scores = tl.zeros((ROWS, OTHERS), tl.float32)
    dp = tl.zeros((ROWS, OTHERS), tl.float32)
    for start in range(0, C, CHUNK):
        c = start + tl.arange(0, CHUNK)
        a = load(k, k_stride, rows[:, None], c[None, :], L, C, K_ALONG_C, EXACT)
        b = load(q, q_stride, queries[None, :], c[:, None], L, C, Q_ALONG_C, EXACT)
        scores = tl.dot(a, b, scores, input_precision="ieee")
        a = load(v, v_stride, rows[:, None], c[None, :], L, C, V_ALONG_C, EXACT)
        b = load(do, do_stride, queries[None, :], c[:, None], L, C, DO_ALONG_C, EXACT)
        dp = tl.dot(a, b, dp, input_precision="ieee")
    norm = tl.load(lse + sample * L + queries, mask=queries < L, other=float("inf"))
    weighted = tl.load(delta + sample * L + queries, mask=queries < L, other=0.0)
    p = tl.exp(scores * scale - norm[None, :])
    ds = (p * (dp - weighted[None, :])).to(q.dtype.element_ty)
    p = p.to(q.dtype.element_ty)

    # One after the other: together they would need twice the shared memory.
    for start in range(0, C, CHUNK):
        c = start + tl.arange(0, CHUNK)
        b = load(do, do_stride, queries[:, None], c[None, :], L, C, DO_ALONG_C, EXACT)
        y = tl.dot(p, b, input_precision="ieee")
        store(dv, dv_stride, rows[:, None], c[None, :], y, L, C, V_ALONG_C, EXACT)
    for start in range(0, C, CHUNK):
        c = start + tl.arange(0, CHUNK)
        b = load(q, q_stride, queries[:, None], c[None, :], L, C, Q_ALONG_C, EXACT)
        y = tl.dot(ds, b, input_precision="ieee") * scale
        store(dk, dk_stride, rows[:, None], c[None, :], y, L, C, K_ALONG_C, EXACT)
