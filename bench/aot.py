"""Compile every kernel for every GPU generation with no GPU, and say what each takes.

    python -m diffsda.bench.aot [--quick] [--targets 80 90] [--ops heun] [--jobs 2] [--out bench/records/aot]

It proves: compiles, no stack, no spills, 16-byte accesses where marked, shared memory within the limit. It shows
neither right results nor speed. Exit status 1 names every row that fails.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

import diffsda
from diffsda.atomic import atomic_write
from diffsda.bench import ptx
from diffsda.bench.cases import records_folder
from diffsda.bench.on_paper import Launch
from diffsda.bench.sass import SHARED_LIMIT, resources
from diffsda.errors import DiffSDAError, InputError

TARGETS = tuple(SHARED_LIMIT)
Row = dict[str, Any]


def compiled(launch: Launch, target: int) -> Row:
    """Compile one kernel for one compute capability and return its row; ``error`` says why it does not compile."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    s = launch.specialisation
    row: Row = {
        "op": launch.op,
        "kernel": s.name,
        "shape": launch.shape,
        "target": f"sm_{target}",
        "dtype": launch.dtype,
        "warps": s.options["num_warps"],
        "constants": {k: _plain(v) for k, v in s.constants.items() if v is not None},
    }
    position = {name: i for i, name in enumerate(s.kernel.arg_names)}
    attributes = {(position[name],): [["tt.divisibility", 16]] for name in s.aligned}
    kind: Any = ASTSource
    if s.kernel.is_gluon():
        from triton.experimental.gluon._runtime import GluonASTSource

        kind = GluonASTSource
    source = kind(fn=s.kernel, signature=dict(s.types), constexprs=dict(s.constants), attrs=attributes)
    try:
        kernel = triton.compile(source, target=GPUTarget("cuda", target, 32), options=s.options_on(target))
    except Exception as error:  # whatever a compiler throws is a finding of this row
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return row | {"error": reason, "limit_bytes": SHARED_LIMIT[target] * 1024}
    taken = resources(kernel.asm["cubin"])
    load, store = ptx.narrowest(ptx.accesses(kernel.asm["ptx"]), ptx.sources(s.kernel))
    found = [size for size in (load, store) if size is not None]
    return row | {
        "registers": taken.registers,
        "stack": taken.stack,
        "spills": taken.spills,
        "shared_bytes": kernel.metadata.shared,
        "limit_bytes": SHARED_LIMIT[target] * 1024,
        "load_bytes": load,
        "store_bytes": store,
        # A kernel that marks lines must be seen to access memory there; one that marks none promises nothing.
        "wide": all(size >= 16 for size in found) if found else (False if ptx.has_marks(s.kernel) else None),
    }


def _plain(value: object) -> object:
    """Return what JSON holds: a type of Triton's becomes its name."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def faults(row: Row) -> list[str]:
    """Return what is wrong with a row."""
    if "not_meant" in row:
        return []
    if "error" in row:
        return [f"does not compile ({row['error']})"]
    wrong = [f"{row[name]} {words}" for name, words in (("stack", "bytes of stack"), ("spills", "spills")) if row[name]]
    if row["wide"] is False:
        wrong.append(f"loads of {row['load_bytes']} and stores of {row['store_bytes']} bytes where 16 are promised")
    if row["shared_bytes"] > row["limit_bytes"]:
        wrong.append(f"{row['shared_bytes']} bytes of shared memory, {row['limit_bytes']} there are")
    return wrong


def title(row: Row) -> str:
    """Return a row's name as a person reads it."""
    return f"{row['op']}/{row['kernel']} {row['shape']} {row['dtype']} {row['target']}"


def constants(row: Row) -> str:
    """Return what tells a row from others of its kernel and shape: its compile-time constants and warps."""
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in row["constants"].items()) + (
        f" warps={row['warps']}" if "warps" in row else ""
    )


def check(launches: Sequence[Launch], targets: Sequence[int] = TARGETS, jobs: int = 1) -> Iterator[Row]:
    """Compile everything and yield rows as they are done, in no order.

    Raises: DiffSDAError if the compiler takes its process with it.
    """
    work = planned(launches, targets)
    if jobs == 1:
        yield from (compiled(launches[i], target) for i, target in work)
        return
    global _inherited
    _inherited = launches
    # Forked, since jit functions cannot be sent to another process.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        pending = {pool.submit(_compiled, i, target): (i, target) for i, target in work}
        for future in as_completed(pending):
            try:
                yield future.result()
            except Exception as error:
                i, target = pending[future]
                name = f"{launches[i].specialisation.name} {launches[i].shape} sm_{target}"
                raise DiffSDAError(f"aot: the compiler stopped at or near {name}: {error!r}") from error


def planned(launches: Sequence[Launch], targets: Sequence[int]) -> list[tuple[int, int]]:
    """Return which launch is compiled for which target: all, but for plans that look at a target's limits."""
    return [(i, t) for i, launch in enumerate(launches) for t in targets if not launch.targets or t in launch.targets]


def not_meant(launches: Sequence[Launch], targets: Sequence[int]) -> list[Row]:
    """Return a row for every kernel and target that no plan brings together."""
    found = {(l.op, l.specialisation.name, t) for l in launches for t in l.targets or targets}
    kernels = dict.fromkeys((l.op, l.specialisation.name) for l in launches)
    reason = "no shape is planned for it: the kernel does not fit, another takes its place"
    return [
        {
            "op": op,
            "kernel": kernel,
            "shape": "",
            "dtype": "",
            "target": f"sm_{t}",
            "constants": {},
            "not_meant": reason,
        }
        for op, kernel in kernels
        for t in targets
        if (op, kernel, t) not in found
    ]


_inherited: Sequence[Launch] = ()


def _compiled(i: int, target: int) -> Row:
    return compiled(_inherited[i], target)


def distinct(launches: Iterable[Launch]) -> list[Launch]:
    """Return one launch for every specialisation, in the order of first use."""
    known: dict[Any, Launch] = {}
    for launch in launches:
        known.setdefault((launch.specialisation.key, launch.targets), launch)
    return list(known.values())


def write(rows: Sequence[Row], folder: Path) -> Path:
    """Write the record of this Triton version, one row a line."""
    import triton

    about = {
        "triton": triton.__version__,
        "torch": str(torch.__version__),
        "diffsda": diffsda.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "what": "compiled without a GPU; load_bytes and store_bytes: the narrowest access on a line marked wide",
    }
    ordered = sorted(
        rows, key=lambda r: (r["op"], r["kernel"], r["dtype"], r["shape"], str(r["constants"]), r["target"])
    )
    lines = ",\n".join(json.dumps(row) for row in ordered)
    text = f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{triton.__version__}.json"
    atomic_write(path, lambda file: file.write(text.encode()))
    return path


def summary(rows: Sequence[Row]) -> str:
    """Return a short table: a line a kernel and target, the worst of its rows."""
    lines = [f"{'kernel':34} {'target':7} {'rows':>4} {'regs':>5} {'stack':>5} {'spills':>6} {'shared':>7} {'wide':>5}"]
    kinds = sorted({(r["op"], r["kernel"], int(r["target"][3:])) for r in rows})
    for op, kernel, target in kinds:
        mine = [r for r in rows if (r["op"], r["kernel"], r["target"]) == (op, kernel, f"sm_{target}")]
        if "not_meant" in mine[0]:
            lines.append(f"{op + '/' + kernel:34} sm_{target:<4} not meant for it")
            continue
        good = [r for r in mine if "error" not in r] or [dict.fromkeys(("registers", "stack", "spills"), "-")]
        worst = {k: max(r.get(k, 0) for r in good) for k in ("registers", "stack", "spills", "shared_bytes")}
        told = {r.get("wide") for r in mine} - {None}
        wide = "-" if not told else "no" if False in told else "yes"
        numbers = f"{worst['registers']:>5} {worst['stack']:>5} {worst['spills']:>6} {worst['shared_bytes']:>7}"
        lines.append(f"{op + '/' + kernel:34} sm_{target:<4} {len(mine):>4} {numbers} {wide:>5}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check all kernels, keep the record, print the table and what fails."""
    parser = argparse.ArgumentParser(prog="python -m diffsda.bench.aot", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="each kernel at one or two shapes; writes no record")
    parser.add_argument("--targets", type=int, nargs="+", choices=TARGETS, metavar="CC", help="80 86 89 90 100 120")
    parser.add_argument("--ops", nargs="+", help="these operations only; writes no record")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=records_folder() / "aot")
    options = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise InputError("aot: got TRITON_INTERPRET set, expected it unset: interpreted kernels cannot be compiled")
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    torch.set_num_threads(1)
    from diffsda.bench.aot_cases import launches

    targets = tuple(options.targets or ((80, 90) if options.quick else TARGETS))
    listed = distinct(launches(quick=options.quick, ops=options.ops))
    if not listed:
        print("aot: no kernels found", file=sys.stderr)
        return 1
    rows: list[Row] = []
    began = time.monotonic()
    total = len(planned(listed, targets))
    for row in check(listed, targets, options.jobs):
        rows.append(row)
        end = "\n" if len(rows) == total or (not sys.stderr.isatty() and len(rows) % 100 == 0) else "\r"
        if sys.stderr.isatty() or end == "\n":
            print(f"aot: {len(rows)}/{total} in {time.monotonic() - began:.0f} s", end=end, file=sys.stderr, flush=True)
    rows += not_meant(listed, targets)
    print(summary(rows))
    if not (options.quick or options.ops or options.targets):
        print(f"record: {write(rows, options.out)}", file=sys.stderr)
    bad = [(f"{title(r)} {constants(r)}", faults(r)) for r in rows if faults(r)]
    for name, wrong in bad:
        print(f"FAILED {name}: {'; '.join(wrong)}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DiffSDAError as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
