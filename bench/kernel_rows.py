"""Time the kernels of some operations on this GPU and print a JSON line a row, for ``diffsda.bench.gpu`` to keep.

A process of its own: a kernel that breaks its CUDA context, or never ends, takes this process only. Exit status 3
says that the context is lost; the caller goes on with the next operation in another process.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from diffsda.bench import kernel_cases, machine
from diffsda.bench.kernel_cases import Case, Row
from diffsda.bench.timing import CudaTimer, Timer

LOST = 3
COMPILE_SECONDS = 60.0
"""Longest that one compilation may take."""
LEAST_TO_COMPILE = 25.0
"""With less than this left, nothing more is compiled."""


def plain_rows(op: str, device: torch.device, timer: Timer, copy_rate: float, left: Any) -> Iterator[Row]:
    """Yield the rows of everyone but the compiled reference."""
    for case in kernel_cases.bench(op).cases():
        if left() <= 0:
            yield kernel_cases.blank(case, kernel_cases.OURS) | {"skipped": "time over"}
            continue
        yield from _guarded(case, device, lambda peers: kernel_cases.rows(case, peers, timer, copy_rate))  # noqa: B023


def compiled_rows(op: str, device: torch.device, timer: Timer, copy_rate: float, left: Any) -> Iterator[Row]:
    """Yield the rows of the compiled reference."""
    for case in kernel_cases.bench(op).cases():
        if not case.setting.get("compile", True):
            continue
        if left() < LEAST_TO_COMPILE:
            yield kernel_cases.blank(case, kernel_cases.COMPILED) | {"skipped": "time over"}
            continue
        torch.compiler.reset()
        seconds = min(COMPILE_SECONDS, left() - 5)
        yield from _guarded(
            case,
            device,
            lambda peers: kernel_cases.compiled_rows(case, peers, timer, copy_rate, seconds),  # noqa: B023
        )


def _guarded(case: Case, device: torch.device, run: Any) -> Iterator[Row]:
    """Make the peers, run, clean up; what cannot be made is a row that says so."""
    try:
        torch.manual_seed(0)
        peers = kernel_cases.bench(case.op).peers(case, device)
    except Exception as reason:
        if kernel_cases.device_is_lost(reason):
            raise
        words = f"{type(reason).__name__}: {reason}".splitlines()[0][:300]
        yield kernel_cases.blank(case, kernel_cases.OURS) | {"failed": words}
        return
    try:
        yield from run(peers)
    except Exception as reason:
        # One case costs itself, not its operation.
        if kernel_cases.device_is_lost(reason):
            raise
        words = f"{type(reason).__name__}: {reason}".splitlines()[0][:300]
        yield kernel_cases.blank(case, kernel_cases.OURS) | {"failed": words}
    finally:
        del peers
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ceilings, or the rows of operations, as JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m diffsda.bench.kernel_rows", description=__doc__.splitlines()[0])
    parser.add_argument("--ceilings", action="store_true")
    parser.add_argument("--ops", nargs="*", default=[])
    parser.add_argument("--compiled", action="store_true", help="the compiled references only")
    parser.add_argument("--copy-rate", type=float, default=0.0, help="bytes a second")
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.seconds
    device = torch.device("cuda")
    # The fair float32 baseline computes in float32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if options.ceilings:
        _say({"ceilings": machine.ceilings(device)})
        return 0
    timer = CudaTimer(device)
    produce = compiled_rows if options.compiled else plain_rows
    for op in options.ops:
        _say({"starting": op})
        try:
            for row in produce(op, device, timer, options.copy_rate, lambda: deadline - time.monotonic()):
                _say({"row": row})
        except Exception as reason:
            _say({"broken": op, "reason": f"{type(reason).__name__}: {reason}".splitlines()[0][:300]})
            if kernel_cases.device_is_lost(reason):
                return LOST
    return 0


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
