"""The whole networks on a CUDA device, in one command with an end: evaluation, sampler, training step, summary, record.

    PYTHONPATH=. python -m diffsda.bench.gpu_network [--minutes 8.5] [--preset voxceleb] [--parts sample train]
                                                     [--again] [--profile FOLDER]

Nothing needs to be installed but torch and triton. The rows that matter most come first; those that need much
compiling come last, in processes of their own. Every row is in the record as soon as it exists; a run that is stopped
leaves a record marked partial, and another with ``--again --parts ...`` fills it up. Without a GPU every part is
skipped by name. Exit status 1 if a row is wrong or ours failed; a goal missed is no failure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffsda.bench import gpu, gpu_loader, machine, network_goals
from diffsda.bench import network_cases as known
from diffsda.bench.cases import ONNX
from diffsda.bench.gpu import LEAST, Clock, lines_of, message_of
from diffsda.bench.gpu_record import Record
from diffsda.bench.network_cases import COMPILE, EAGER, FIXED, FIXED_COMPILED, GRAPH, OURS, PUBLISHED, TIME_OVER
from diffsda.bench.pixels import CASE

SILENCE = 75.0
"""Longest that a process may go without a word, which is less than a job has: who hangs is left out, the rest goes
on. Compiling a whole network says nothing, so jobs may allow more."""
EVALUATIONS = ("evaluation/160", "evaluation/16", "evaluation/1")
CEILINGS = "measured copy bandwidth and matmul rate"


@dataclass(frozen=True)
class Job:
    """Work for one process: cases and contestants, and how long it may take."""

    part: str
    cases: tuple[str, ...]
    peers: tuple[str, ...]
    seconds: float
    kind: str = "time"
    silence: float = SILENCE
    variables: dict[str, str] = field(default_factory=dict)
    module: str = "diffsda.bench.network_rows"


def jobs(cold: str) -> list[Job]:
    """Return all work, the most valuable first; ``cold``: an empty folder, for a compiler without a memory."""
    plain = (GRAPH, EAGER, PUBLISHED, FIXED)
    fresh = {"TORCHINDUCTOR_CACHE_DIR": cold, "TRITON_CACHE_DIR": f"{cold}/triton"}
    return [
        Job("evaluation", EVALUATIONS, (*plain, known.FLOOR, known.FLOOR_PLAIN), 110),
        Job("sample", ("sample/16", "sample/1"), plain, 110),
        Job("train", ("train/16",), (*plain, known.FLOOR), 90),
        Job("profile", ("evaluation/160", "train/16"), (EAGER,), 45, "profile", silence=40),
        Job("memory", ("sample/16",), (GRAPH,), 40, "memory", silence=35),
        Job("memory", ("train/16",), (EAGER,), 40, "memory", silence=35),
        Job("equality", ("equality",), (), 40, silence=35),
        Job("pixels", (CASE,), (known.INFER,), 170, silence=110),
        Job("loader", gpu_loader.CASES, gpu_loader.PEERS, 120, silence=100, module="diffsda.bench.gpu_loader"),
        Job("tiles", ("sample/16",), (GRAPH, known.TILED, known.GLUON), 60, silence=50),
        # The slow one first: what is left of the time is for the yardstick, whose kernels are compiled again too.
        Job("compile", ("evaluation/160",), (COMPILE, GRAPH), 160, silence=140, variables=fresh),
        Job("cold-start", ("evaluation/160",), (COMPILE,), 50, "ready", silence=45, variables=fresh),
        Job("compile", ("evaluation/160", "sample/16"), (GRAPH, FIXED_COMPILED), 130, silence=120),
        Job("compile-train", ("train/16",), (GRAPH, EAGER, COMPILE, FIXED_COMPILED), 160, silence=150),
        Job("runtimes", ("evaluation/160", "sample/16"), (GRAPH, ONNX), 150, silence=120),
        Job("package", ("evaluation/160",), (GRAPH, known.PACKAGE), 110, silence=105),
        Job("memory", ("train/16",), (PUBLISHED,), 40, "memory", silence=35),
        Job("compile-small", (*EVALUATIONS[1:], "sample/1"), (GRAPH, COMPILE, FIXED_COMPILED), 160, silence=120),
        Job("max-autotune", ("evaluation/160",), (GRAPH, known.FIXED_TUNED), 200, silence=195),
        Job("max-autotune", ("evaluation/160",), (GRAPH, known.FLOOR_TUNED), 200, silence=195),
        Job("engines", ("evaluation/160", "sample/16"), (GRAPH, known.TENSORRT), 300, silence=280),
    ]


PARTS = tuple(dict.fromkeys(job.part for job in jobs("")))


def work(record: Record, clock: Clock, waiting: Sequence[Job], options: Sequence[str] = ()) -> None:
    """Do jobs one after the other, as long as there is time; every row goes into the record."""
    for number, job in enumerate(waiting):
        if clock.left() < LEAST:
            for late in waiting[number:]:
                _late(record, f"{late.part}: {' '.join(late.cases)}")
            return
        _finish(record, clock, job, options)


def _finish(record: Record, clock: Clock, job: Job, options: Sequence[str]) -> None:
    """Do a job; who breaks, or hangs in, its process is left out of the next, which goes on with the rest."""
    while job.cases and clock.left() >= LEAST:
        rest = _one_process(record, min(job.seconds, clock.left()), job, options)
        if rest is None:
            return
        job = rest


def _one_process(record: Record, seconds: float, job: Job, options: Sequence[str]) -> Job | None:
    """Keep the rows of one process; return what is left to do without whoever broke it."""
    command = [
        *(sys.executable, "-m", job.module, "--kind", job.kind, "--cases", *job.cases),
        *("--seconds", f"{seconds - 5:.0f}", "--peers", *job.peers, *options),
    ]
    now, case, broken, other = "", "", "", []
    for line in lines_of(command, seconds, job.silence, **job.variables):
        message = message_of(line)
        if message is None:
            other.append(line)
        elif "starting" in message:
            now, case = message["starting"], message["case"]
        elif "row" in message:
            found = message["row"]
            record.add({"part": job.part, **found})
            print(short(found), flush=True)
            if found.get("skipped") == TIME_OVER:
                _late(record, f"{job.part}: {found['case']} {found['peer']}")
        elif "broken" in message:
            broken = message["broken"]
    end = other.pop() if other else "exit without a word"
    if end == "exit 0":
        return None
    words = broken or f"{end}: {''.join(other)[-500:]}".strip()
    row = {"part": job.part, "case": case or job.cases[0], "peer": now or "-"}
    if end == "exit late":
        row["skipped"] = f"not done within {seconds:.0f} s"
        _late(record, f"{job.part}: {row['case']} {now}")
    else:
        row["failed"] = words
    record.add(row)
    print(short(row), flush=True)
    # Everything of the case that broke is done again, as its rows come at its end.
    cases = job.cases[job.cases.index(case) :] if case in job.cases else ()
    peers = tuple(p for p in job.peers if p != now)
    enough = bool(set(peers) - {GRAPH}) if job.kind == "time" else bool(peers)
    return replace(job, cases=cases, peers=peers) if now and enough and end != "exit late" else None


def _late(record: Record, words: str) -> None:
    record.note(unfinished=[*record.content.get("unfinished", ()), words])


def short(row: dict[str, Any]) -> str:
    """Return a row as one line of text."""
    name = f"{row['case']:20} {row['peer']:26}"
    for word in ("skipped", "failed"):
        if word in row:
            return f"{name} {word}: {row[word][:200]}"
    if row.get("wrong"):
        return f"{name} WRONG: error {row['error']:.1e}"
    parts = []
    if "milliseconds" in row:
        parts += [f"{row['milliseconds']:10.3f} ms", f"{row['flops_per_s'] / 1e12:6.0f} TFLOP/s"]
    if "clips_per_s" in row:
        parts.append(f"{row['clips_per_s']:8.2f} clips/s")
    if row.get("idle_share") is not None:
        parts.append(f"GPU idle {row['idle_share']:.1%}")
    if "by_anchor" in row and row["peer"] != row["anchor"]:
        parts.append(f"{row['by_anchor']:6.2f} x {row['anchor']}")
    if "peak_bytes" in row:
        parts.append(f"{row['peak_bytes'] / 1e9:.2f} GB")
    if "error" in row:
        parts.append(f"error {row['error']:.1e}")
    if "ready_seconds" in row:
        parts.append(f"ready in {row['ready_seconds']:.1f} s")
    if "kernels" in row:
        parts.append(f"longest: {row['kernels'][0]['kernel'][:60]} {row['kernels'][0]['share']:.0%}")
    return f"{name} {' '.join(parts)}".rstrip()


def summary(record: dict[str, Any]) -> Iterator[str]:
    """Yield ceilings, longest kernels and goals as lines of text."""
    if record["ceilings"]:
        copy, product = (record["ceilings"][k] for k in ("copy_bytes_per_s", "matmul_flops_per_s"))
        yield f"copy {copy / 1e12:.2f} TB/s | bf16 matmul {product / 1e12:.0f} TFLOP/s"
    from diffsda.bench.profiled import lines

    for row in record["rows"]:
        if "kernels" in row:
            yield from (f"{row['case']} {row['peer']}", *lines(row))
    yield from network_goals.lines(record)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything and say how it came out."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m diffsda.bench.gpu_network", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--preset", default="voxceleb")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--again", action="store_true", help="add these parts to the record of this day and commit")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="leave traces there")
    options = parser.parse_args(arguments)
    clock = Clock(60 * options.minutes)
    about = machine.environment() | {"preset": options.preset}
    print(machine.line(about), flush=True)
    if not gpu.has_gpu():
        for part in (CEILINGS, *PARTS, "goals"):
            print(f"skipped: {part} (no CUDA device)")
        print("no record was written")
        return 0
    record = Record(about, kind="network-", again=options.again)
    done = set(record.content.get("done", ())) - set(options.parts)
    record.note(rows=[r for r in record.rows if r["part"] not in options.parts], unfinished=[], done=sorted(done))
    record.note(ceilings=gpu.measure_ceilings(clock))
    if not record.content["ceilings"]:
        print("the device cannot be used: no ceilings", flush=True)
        return 1
    further = ["--preset", options.preset]
    if options.profile:
        further += ["--trace", str(options.profile.resolve())]
    with tempfile.TemporaryDirectory() as cold:
        work(record, clock, [job for job in jobs(cold) if job.part in options.parts], further)
    late = {line.partition(":")[0] for line in record.content["unfinished"]}
    done |= set(options.parts) - late
    record.note(done=sorted(done), partial=done != set(PARTS))
    print("\n".join(summary(record.content)))
    print(f"record: {record.paths[-1]}{' (partial)' if record.content['partial'] else ''}")
    bad = any(r.get("wrong") or ("failed" in r and r["peer"] in (*OURS, known.INFER)) for r in record.rows)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
