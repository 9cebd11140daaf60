"""Comparisons made by hand: what is measured of each system is what the test says."""

from diffsda.compare.record import Comparison, Scored
from diffsda.evaluate.result import Row


def row(metric, values, better="higher", **more):
    """A row of as many models as values."""
    usual = {"unit": "share", "models": len(values), "about": f"{metric} in words"}
    return Row(metric=metric, values=tuple(values), better=better, **(usual | more))


def scored(name, rows, system=None, **more):
    """A system with rows by protocol."""
    usual = {
        "recipe": {"name": name},
        "digest": "0" * 12,
        "parameters": 1234,
        "models": [{"model": f"{name}-{seed}", "seconds": 30.0 + seed} for seed in (0, 1)],
        "policy": "dynamic",
        "swap_seconds": {"dynamic": 0.02},
    }
    return Scored(name=name, system=system or name, rows=rows, **(usual | more))


def comparison(*systems, **more):
    """A comparison of systems on made data."""
    usual = {
        "data": "made",
        "seeds": (0, 1),
        "judged_seeds": (0,),
        "judge_seed": 0,
        "budget": {"steps": 7, "seconds": None, "words": "7 steps each", "rates": {}},
        "tuning": None,
        "pairs": {"0": {"count": 3, "sha256": "f" * 64}},
        "clips": {"train": 20, "test": 10},
        "timing": {"batch": 8, "repeats": 3},
        "machine": {"cores": 2, "threads": 1, "trained_on": "a CPU"},
    }
    return Comparison(systems=list(systems), **(usual | more))


def joint(*values):
    """Rows of swaps with these joint accuracies."""
    return {"swap-labels": [row("joint_accuracy", values)]}
