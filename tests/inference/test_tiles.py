"""Requests of any size in tiles of few sizes, smaller ones where memory runs out."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsda.inference.tiles import Tiles, over, padded


@given(rows=st.integers(1, 500), largest=st.integers(1, 200), unit=st.integers(1, 40), fixed=st.booleans())
def test_every_row_is_run_once_in_order(rows, largest, unit, fixed):
    sizes = []

    def run(taken, size):
        assert taken.stop - taken.start <= size <= max(largest, 1)
        sizes.append(size)
        return (torch.arange(taken.start, taken.stop),)

    (result,) = over(Tiles(largest, fixed=fixed), rows, run, unit=unit)
    assert torch.equal(result, torch.arange(rows))
    if fixed:
        assert len(set(sizes)) <= 2, "whole tiles and one tail"


@pytest.mark.parametrize("fixed", [True, False])
def test_one_clip_is_not_padded_to_a_whole_tile(fixed):
    tiles = Tiles(160, fixed=fixed)
    assert [tiles.size(n, 10) for n in (10, 20, 40, 160)] == [10, 20, 40, 160]
    assert tiles.size(400, 10) == (160 if fixed else 134)


def test_where_sizes_are_free_a_request_is_shared_out_evenly():
    sizes = []

    def run(taken, size):
        sizes.append(size)
        return (torch.arange(taken.start, taken.stop),)

    over(Tiles(2048, fixed=False), 2049, run)
    assert sizes == [1025, 1024]


def test_tails_come_in_few_sizes():
    tiles = Tiles(160, fixed=True)
    assert {tiles.size(n, 10) for n in range(1, 161)} == {10, 20, 40, 80, 160}


def test_running_out_of_memory_halves_the_tile_and_keeps_what_is_done():
    done, forgotten, tried = [], [], []

    def run(taken, size):
        tried.append(size)
        if size > 12:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.append(taken)
        return (torch.arange(taken.start, taken.stop),)

    tiles = Tiles(64, fixed=True)
    (result,) = over(tiles, 50, run, unit=8, forget=lambda: forgotten.append(True))
    assert torch.equal(result, torch.arange(50))
    assert tiles.largest <= 12
    assert len(forgotten) == sum(size > 12 for size in tried) > 0
    assert all(a.stop == b.start for a, b in itertools.pairwise(done))


def test_memory_that_runs_out_half_way_costs_nothing_done():
    calls = []

    def run(taken, size):
        calls.append((taken.start, size))
        if taken.start >= 8 and size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (torch.arange(taken.start, taken.stop),)

    (result,) = over(Tiles(4, fixed=False), 12, run)
    assert torch.equal(result, torch.arange(12))
    assert calls == [(0, 4), (4, 4), (8, 4), (8, 2), (10, 2)]


def test_one_row_that_does_not_fit_is_an_error():
    def run(taken, size):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        over(Tiles(64, fixed=True), 5, run)


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 B",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_that_runs_out_elsewhere_halves_the_tile_too(words):
    def run(taken, size):
        if size > 2:
            raise RuntimeError(words)
        return (torch.arange(taken.start, taken.stop),)

    (result,) = over(Tiles(8, fixed=False), 8, run)
    assert torch.equal(result, torch.arange(8))


def test_other_errors_are_not_swallowed():
    def run(taken, size):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        over(Tiles(4, fixed=True), 5, run)


def test_progress_ends_at_the_whole():
    shares = []
    over(Tiles(3, fixed=False), 7, lambda taken, size: (torch.zeros(taken.stop - taken.start),), done=shares.append)
    assert shares == [pytest.approx(3 / 7), pytest.approx(5 / 7), 1.0]


def test_padding_repeats_the_last_row():
    assert padded(torch.tensor([[1.0], [2.0]]), 4).tolist() == [[1.0], [2.0], [2.0], [2.0]]
    x = torch.randn(3, 2)
    assert padded(x, 3) is x
