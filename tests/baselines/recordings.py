"""Recorded outputs of the authors' DBSE code, and how ours are compared with them."""

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import diffsda
from diffsda.baselines.dbse.authors import to_theirs
from diffsda.baselines.draws import recorded

GOLDEN = Path(__file__).parents[1] / "golden" / "baselines"
_FOLDER = tempfile.TemporaryDirectory(prefix="recordings-")


@cache
def arrays(name):
    """Return the recorded arrays of a model, floating-point ones in float32 or float64."""
    with np.load(GOLDEN / f"{name}.npz") as held:
        found = {key: torch.from_numpy(held[key]) for key in held.files}
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in found.items()}


@cache
def released(name):
    """Return a file of the recorded weights such as the authors' code writes: a state dict by torch."""
    path = Path(_FOLDER.name) / f"{name}.pth"
    torch.save(load_file(GOLDEN / f"{name}.weights.safetensors"), path)
    return path


def loaded(name, settings=None):
    """Return the network with the recorded weights, as published, by the project's one door for such files."""
    model = diffsda.load_authors(released(name), settings, as_published=True)
    return getattr(model, "system", model)


def draws(name, scenario, **change):
    """Replay the draws of a scenario; ``change`` turns one from the recorded layout into ours."""
    prefix = f"{scenario}_eps_"
    held = {k.removeprefix(prefix): v for k, v in arrays(name).items() if k.startswith(prefix)}
    return recorded(held | {k: turn(held[k]) for k, turn in change.items()})


def flat(eps):
    """Drop the axis of one that the recorded static draws keep."""
    return eps[:, 0]


def turned(eps):
    """Put draws made in a loop, (V, B, ...), in the order of clips (B, V, ...)."""
    return eps.transpose(0, 1)


def assert_close(given, wanted, tolerance=1e-5):
    """Require agreement relative to the largest magnitude; shapes may differ in axes of one."""
    given, wanted = given.detach().double(), wanted.double()
    assert given.numel() == wanted.numel(), (given.shape, wanted.shape)
    difference = (given.reshape(wanted.shape) - wanted).abs().max() / wanted.abs().max()
    assert float(difference) < tolerance


def assert_image(given, name, key, step, tolerance=1e-5):
    """Require agreement of every ``step``-th row and column, and of the sums over the whole."""
    gold = arrays(name)
    given = given.detach().double()
    assert_close(given[..., ::step, ::step], gold[key], tolerance)
    for power, part in ((1, "sum"), (2, "sumsq")):
        assert abs(float(given.pow(power).sum() / gold[f"{key}_{part}"]) - 1) < tolerance


def assert_terms(terms, wanted, tolerance=1e-5):
    """Require agreement of every term and the total, in the recorded order."""
    given = [*terms.terms.values(), terms.total]
    for mine, theirs in zip(given, wanted.double(), strict=True):
        assert abs(float(mine.detach().double() / theirs) - 1) < tolerance


def assert_gradients(model, name, group, tolerance=1e-4):
    """Require the recorded norm of every parameter's gradient, where it is not rounding alone."""
    wanted = json.loads((GOLDEN / f"{name}.gradnorms.json").read_text())[f"{group}_f64"]
    ours = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    given = {k: float(v.double().norm()) for k, v in to_theirs(ours, model).items()}
    assert set(given) == {k for k, norm in wanted.items() if norm is not None}
    largest = max(norm for norm in wanted.values() if norm is not None)
    for key, norm in given.items():
        allowed = tolerance * wanted[key] if wanted[key] > 1e-6 * largest else 1e-6 * largest
        assert abs(norm - wanted[key]) <= allowed, (key, norm, wanted[key])


def adam_steps(model, name, scenario, lr, tolerance, loss):
    """Take three steps of Adam over recorded draws; require the terms before each."""
    adam = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.999))
    for step, wanted in enumerate(arrays(name)[f"{scenario}_f64"]):
        adam.zero_grad()
        terms = loss(f"step{step}")
        assert_terms(terms, wanted, 1e-5 if step == 0 else tolerance)
        terms.total.backward()
        adam.step()
