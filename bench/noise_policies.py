"""Compare the start noises of swaps on a labelled set, keep the record, and write the table of docs/tasks.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffsda.atomic import atomic_write
from diffsda.bench.cases import records_folder
from diffsda.bench.tables import fill
from diffsda.checkpoint import load
from diffsda.data.registry import open_clips
from diffsda.errors import DiffSDAError, InputError
from diffsda.evaluate.noise_policies import noise_policies, table
from diffsda.evaluate.result import Row, merge
from diffsda.firststage.clips import whitened
from diffsda.inference import Session

MARKER = "noise-policies"


def folder() -> Path:
    """Return where these records are kept."""
    return records_folder() / "noise"


def measure(
    models: Sequence[str],
    data: str,
    *,
    label: str,
    seed: int = 0,
    count: int | None = None,
    fit_count: int | None = None,
    split: str = "test",
    steps: int | None = None,
    batch: int = 64,
) -> dict[str, Any]:
    """Return a record: rows over models (seeds of one recipe), and what they were measured on.

    ``count`` and ``fit_count`` take so many clips of the test and the training part, drawn from ``seed``; None takes
    all.
    Raises: InputError for models of different recipes, and as ``noise_policies``.
    """
    runs, recipes, clips = [], set(), {}
    for path in models:
        model = load(path)
        recipes.add(model.recipe.replace(optim={"seed": 0}).digest)
        if len(recipes) > 1:
            raise InputError(
                f"{path}: got a model of another recipe than {models[0]}, expected the same but for the seed"
            )
        parts = [
            whitened(_some(open_clips(data, name, model.recipe.clips), most, seed), model.whitening)
            for name, most in (("train", fit_count), (split, count))
        ]
        clips = {"fit": len(parts[0]), "test": len(parts[1]), "name": parts[1].name}
        runs.append(noise_policies(Session(model), *parts, label=label, seed=seed, steps=steps, batch=batch))
    rows = merge(runs)
    return {
        "about": {
            "data": clips,
            "split": split,
            "label": label,
            "models": len(models),
            "recipe": model.recipe.name,
            "trained_steps": model.provenance.get("step"),
            "solver_steps": steps or model.recipe.sampling.steps,
            "seed": seed,
            "torch": str(torch.__version__),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        },
        "rows": [row.to_dict() for row in rows],
    }


def _some(clips: Any, count: int | None, seed: int) -> Any:
    if count is None or count >= len(clips):
        return clips
    return clips.select(np.sort(np.random.default_rng(seed).permutation(len(clips))[:count]))


def tables(records: Sequence[dict[str, Any]]) -> str:
    """Return all records as tables, each with what it was measured on."""
    parts = []
    for record in records:
        about, rows = record["about"], [Row.from_dict(plain) for plain in record["rows"]]
        models = f"{about['models']} models" if about["models"] > 1 else "one model"
        spread = ", mean and 95 % interval over models" if about["models"] > 1 else ""
        pairs = f"{rows[0].count} pairs of the {about['split']} part"
        head = (
            f"`{about['data']['name']}`, {about['label']}, {pairs}, {models} of `{about['recipe']}` "
            f"({about['trained_steps']} steps){spread}:"
        )
        parts += [head, table(rows)]
    return "\n\n".join(parts)


def write_docs(path: Path) -> None:
    """Write the tables of all records into a page, between its markers."""
    records = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder().glob("*.json"))]
    made = tables(records) if records else "No record yet: `python -m diffsda.bench.noise_policies` makes one."
    text = fill(path.read_text(encoding="utf-8"), MARKER, made)
    atomic_write(path, lambda file: file.write(text.encode()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and keep a record where models are named; write the page where one is."""
    parser = argparse.ArgumentParser(prog="python -m diffsda.bench.noise_policies", description=__doc__)
    parser.add_argument("models", nargs="*", help="model files or run folders of one recipe, a seed each")
    parser.add_argument("--data", help="a labelled set: a name or a prepared folder")
    parser.add_argument("--label", help="the static label")
    parser.add_argument("--split", default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, help="test clips, drawn; all if left out")
    parser.add_argument("--fit-count", type=int, help="training clips the judge is fitted on, drawn; all if left out")
    parser.add_argument("--steps", type=int, help="solver steps")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--record", type=Path, help="the JSON file to write; left out, records/noise/SET.json")
    parser.add_argument("--docs", type=Path, help="the page whose table is written from all records")
    options = parser.parse_args(arguments)
    if options.models:
        if options.data is None or options.label is None:
            raise InputError("noise_policies: got models, expected --data and --label as well")
        record = measure(
            options.models,
            options.data,
            label=options.label,
            seed=options.seed,
            count=options.count,
            fit_count=options.fit_count,
            split=options.split,
            steps=options.steps,
            batch=options.batch,
        )
        place = options.record or folder() / f"{record['about']['data']['name']}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(place, lambda file: file.write((json.dumps(record, indent=1) + "\n").encode()))
        print(tables([record]))
        print(f"record: {place}", file=sys.stderr)
    elif options.docs is None:
        raise InputError("noise_policies: got nothing to do, expected models to measure, or --docs")
    if options.docs is not None:
        write_docs(options.docs)
        print(options.docs)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DiffSDAError as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
