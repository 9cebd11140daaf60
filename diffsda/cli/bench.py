"""diffsda bench: how fast a preset trains or samples here, beside what the machine could do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffsda.cli.options import parse
from diffsda.errors import InputError
from diffsda.recipe import Recipe
from diffsda.systems import preset

FOLDER = Path("runs/bench")
"""Where records go that nobody named."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the speed of a preset: random weights, random clips."""

    what: Annotated[Literal["train", "sample", "latency"], tyro.conf.Positional]
    """train: one optimiser step. sample: clips from factors and noise. latency: the same for one clip."""
    preset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PRESET")]
    """A preset's name."""
    batch: int | None = None
    """Clips at once; left open, the recipe's batch (on the CPU 4 at most for samples)."""
    frames: int | None = None
    """Frames of a clip; left open, the recipe's (24 where it leaves them open)."""
    steps: int | None = None
    """Solver steps T, 2T - 1 network evaluations."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:N."""
    precision: str = "auto"
    """auto (bf16 for video and training on CUDA, float32 elsewhere), float32, bf16, or: fp16 for samples, tf32 for
    training."""
    route: str = "auto"
    """auto, eager, graph (CUDA) or compile."""
    compile: bool = False
    """The same as --route compile."""
    rounds: int = 5
    """Times it is measured; the median counts."""
    threads: int | None = None
    """Threads on the CPU; left open, torch's own choice."""
    profile: Path | None = None
    """Folder for a Chrome trace; prints the ten longest kernels (operators on the CPU) as well."""
    out: Path | None = None
    """Record to write; left open, a new file in runs/bench."""
    json: bool = False
    """Print the record instead of a summary."""


def run(argv: list[str]) -> int:
    """Measure, print, and keep a record."""
    options = parse(Options, argv, "bench", "Measure the speed of a preset: random weights, random clips.")
    for name in ("batch", "frames", "rounds", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: got {value}, expected a whole number of at least 1")
    recipe = preset(options.preset)
    if not isinstance(recipe, Recipe):
        raise InputError(
            f"preset: got {options.preset} of {recipe.system}, expected one of diffsda: bench knows no other"
        )
    if options.steps is not None:
        recipe = recipe.replace(sampling={"steps": options.steps})
    if options.compile and options.route not in ("auto", "compile"):
        raise InputError(f"--compile: got it with --route {options.route}, expected one of the two")
    out = _place(options)
    result = _measure(options, recipe)
    _write(out, result)
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join([*_lines(result), str(out)]))
    return 0


def _measure(options: Options, recipe: Any) -> dict[str, Any]:
    import torch

    from diffsda.bench.speed import Wish, measure

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    trace = options.profile and options.profile / f"{options.what}-{recipe.name}.json"
    wish = Wish(
        what=options.what,
        recipe=recipe,
        batch=options.batch,
        frames=options.frames,
        device=options.device,
        precision=options.precision,
        route="compile" if options.compile else options.route,
        rounds=options.rounds,
        trace=trace,
    )
    return measure(wish, lambda line: print(f"bench: {line}", file=sys.stderr))


def _place(options: Options) -> Path:
    """Return where the record goes, before anything is measured.

    Raises: InputError for a file that is there already.
    """
    if options.out is not None:
        if options.out.exists():
            raise InputError(f"{options.out}: is there already, expected a new name; records are never overwritten")
        if not options.out.parent.is_dir():
            raise InputError(f"{options.out}: there is no folder {options.out.parent}; make it first")
        return options.out
    stem = f"{options.what}-{options.preset}-{time.strftime('%Y-%m-%d-%H%M%S', time.gmtime())}"
    names = (f"{stem}{suffix}.json" for suffix in ("", *(f"-{i}" for i in range(1, 1000))))
    return next(FOLDER / name for name in names if not (FOLDER / name).exists())


def _write(out: Path, result: dict[str, Any]) -> None:
    from diffsda.atomic import atomic_write

    if out.parent == FOLDER:
        FOLDER.mkdir(parents=True, exist_ok=True)
    atomic_write(out, lambda file: file.write((json.dumps(result, indent=1) + "\n").encode()))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield what a person wants to know."""
    times, roof, how = result["milliseconds"], result["roofline"], result["how"]
    steps = f", {2 * result['steps'] - 1} evaluations" if "steps" in result else ""
    yield (
        f"{result['what']} {result['preset']}: {result['batch']} clips of {result['frames']} frames{steps} on "
        f"{result['about']['gpu'] if how['device'] != 'cpu' else result['about']['cpu']}, {how['precision']}, "
        f"{how['route']}, {result['about']['threads']} threads"
    )
    yield f"{result['clips_per_s']:.4g} clips/s"
    yield (
        f"{times['median']:.4g} ms (± {times['spread']:.1%}, {times['low']:.4g} to {times['high']:.4g}, "
        f"{result['rounds']} rounds)"
    )
    yield (
        f"{roof['flops'] / 1e9:.4g} GFLOP at {result['flops_per_s'] / 1e12:.3g} of "
        f"{roof['matmul_flops_per_s'] / 1e12:.3g} TFLOP/s measured in products"
    )
    yield f"{roof['bytes'] / 1e9:.4g} GB at least; {roof['copy_bytes_per_s'] / 1e9:.4g} GB/s measured in copies"
    yield f"roofline {1e3 * roof['seconds']:.4g} ms: {roof['share']:.1%} reached"
    yield f"memory peak {result['memory_peak_bytes'] / 1e9:.3g} GB"
    if "profile" in result:
        from diffsda.bench.profiled import lines

        yield from lines(result["profile"])
