"""Training a latent prior on the factors of a training set: steps, records, state, leaving in good order."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda.errors import InputError, TrainingError
from diffsda.factors import Factors
from diffsda.prior.file import save_prior
from diffsda.prior.latent import LatentPrior, Sizes, parameters
from diffsda.prior.owner import Owner
from diffsda.prior.recipe import Fit, Prior
from diffsda.train.ema import Average
from diffsda.train.guard import Guard
from diffsda.train.interrupt import Interrupt
from diffsda.train.log import Log
from diffsda.train.lr import rate
from diffsda.train.optim import FusedAdamW
from diffsda.train.order import Order, seed_for
from diffsda.train.parallel import join
from diffsda.train.resume import FILE, read_state, write_state

LARGE = 500_000_000
"""Parameters from which people are told what they are in for."""
_NOISE, _DROPOUT = 0, 1
"""Streams of random numbers of a step."""

Talk = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Trained:
    """How the training of a prior ended."""

    prior: LatentPrior
    step: int
    finished: bool
    signal: int | None
    """The signal that stopped it before its last step, if one did."""


@dataclass(frozen=True)
class Settings:
    """What a training can only be resumed with; reads to ``train.resume`` as a recipe does."""

    prior: Prior
    fit: Fit
    owner: Owner | None

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, fit for JSON."""
        owner = {} if self.owner is None else self.owner.to_dict()
        return {"prior": self.prior.to_dict(), "fit": self.fit.to_dict(), "model": owner}

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]


def train_prior(
    recipe: Prior,
    fit: Fit,
    factors: Factors,
    out: str | Path,
    *,
    owner: Owner | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    log_every: int = 20,
    save_every: int = 500,
    until: int | None = None,
    progress: Talk = lambda step, total, values: None,
    tell: Callable[[str], None] = lambda words: None,
) -> Trained:
    """Train a prior on the factors of a model's training clips and write it to a file.

    While it goes, ``<out's name>-training/`` beside the file holds log.jsonl and state.pt, from which ``resume`` goes
    on exactly; the file is written when the last step is done, and the state goes. ``until`` stops after that step, as
    if interrupted. ``progress`` is told step, total and the latest values.
    Source: DiffSDA appendix B.3, Table 8.
    Raises: InputError for factors that cannot be packed, a file that exists, or an unfinished training that is neither
    resumed nor overwritten; TrainingError when the loss is not finite; SaveError if the disk is full.
    """
    if min(log_every, save_every, 1 if until is None else until) < 1:
        raise InputError("log_every, save_every, until: got a number below 1, expected steps >= 1")
    run = _Run(Settings(recipe, fit, owner), factors, Path(out), device)
    tell_size(run.sizes, recipe, tell)
    run.open(resume=resume, overwrite=overwrite)
    try:
        return run.go(min(run.total, until or run.total), log_every, save_every, progress)
    finally:
        run.close()


def tell_size(sizes: Sizes, recipe: Prior, tell: Callable[[str], None]) -> None:
    """Warn of a prior that takes much memory: its size goes with the square of M = S + V * D."""
    count = parameters(recipe, sizes)
    if count >= LARGE:
        tell(
            f"z has S + V * D = {sizes.static} + {sizes.frames} * {sizes.dynamic} = {sizes.total} numbers, which makes "
            f"a prior of {count / 1e9:.1f} G parameters: about {16 * count / 2**30:.0f} GiB while it is trained; "
            "fewer frames or a smaller --prior.width make it smaller"
        )


def workplace(out: Path) -> Path:
    """Return the folder that keeps what a training of this file needs while it goes."""
    return out.with_name(f"{out.stem}-training")


class _Run:
    def __init__(self, settings: Settings, factors: Factors, out: Path, device: str) -> None:
        self.settings, self.out, self.folder = settings, out, workplace(out)
        recipe, fit = settings.prior, settings.fit
        self.sizes = Sizes.of(factors)
        if not bool(torch.isfinite(factors.static).all() and torch.isfinite(factors.dynamic).all()):
            raise InputError("factors: got values that are not finite, expected those of a sound model")
        self.device = join(device).device
        torch.manual_seed(seed_for(fit.seed))
        self.prior = LatentPrior(recipe, self.sizes).to(self.device)
        self.prior.measure(factors)
        self.prior.owner = settings.owner
        self.factors = factors
        self.z = self.prior.pack(factors)  # (N, M), on the device
        self.order = Order(len(self.z), fit.batch, fit.seed)
        self.total = fit.steps or fit.epochs * self.order.steps_per_epoch
        self.average = Average(self.prior, fit.ema) if fit.ema else None
        self.optimizer = FusedAdamW(
            self.prior.parameters(), lr=fit.lr, weight_decay=fit.weight_decay, average=self.average
        )
        self.guard = Guard(self.device)
        self.step, self.saved = 0, -1
        self.log: Log | None = None

    def open(self, *, resume: bool, overwrite: bool) -> None:
        """Take up the state there is, or make room for a new training."""
        held = (self.folder / FILE).is_file()
        if resume and not held and self.out.exists():
            raise InputError(f"{self.out}: is finished already; nothing is left to resume")
        if self.out.exists() and not (overwrite or resume):
            raise InputError(f"{self.out}: exists already, expected a new file (or --overwrite)")
        if held and not (overwrite or resume):
            raise InputError(
                f"{self.folder}: holds an unfinished training; go on with --resume, or begin anew with --overwrite"
            )
        if not self.out.parent.is_dir():
            raise InputError(f"{self.out}: there is no folder {self.out.parent}; make it first")
        if resume:
            # Settings are read as a recipe is: by digest and by parts.
            self._restore(read_state(self.folder, self.settings))
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be made ({error.strerror}), expected a folder") from None
        if not resume:
            for old in ("log.jsonl", FILE):
                (self.folder / old).unlink(missing_ok=True)
        self.log = Log(self.folder, after=self.step)

    def go(self, end: int, log_every: int, save_every: int, progress: Talk) -> Trained:
        """Run until the budget, the stop step or a signal."""
        self.prior.train()
        began, first = time.perf_counter(), self.step
        with Interrupt() as interrupt:
            while self.step < end and interrupt.signal is None:
                loss, norm, lr = self._advance()
                if self.step % log_every == 0 or self.step == end:
                    self._check()
                    seen = (self.step - first) * self.settings.fit.batch
                    pace = seen / (time.perf_counter() - began)
                    values = {"loss": float(loss), "grad_norm": float(norm), "lr": lr, "clips_per_s": pace}
                    assert self.log is not None
                    self.log.write(self.step, **values)
                    progress(self.step, self.total, values)
                if self.step % save_every == 0 and self.step < self.total:
                    self.save()
        self._check()
        finished = self.step >= self.total
        if finished:
            self._finish()
        else:
            self.save()
        return Trained(self._result(), self.step, finished, None if finished else interrupt.signal)

    def save(self) -> None:
        """Write the state of the training, completely or not at all."""
        if self.saved != self.step:
            self._check()
            write_state(self.folder, self._state())
            self.saved = self.step

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()

    def _advance(self) -> tuple[Tensor, Tensor, float]:
        """Do one step, a function of seed and step alone; return its loss, gradient norm and learning rate."""
        fit, step = self.settings.fit, self.step
        z = self.z[torch.from_numpy(self.order.indices(step)).to(self.device)]
        # Drawn on the CPU: every device sees the same numbers.
        draw = torch.Generator().manual_seed(seed_for(fit.seed, step, _NOISE))
        t = torch.randint(self.settings.prior.steps, (len(z),), generator=draw).to(self.device)
        eps = torch.randn(z.shape, generator=draw).to(self.device)
        torch.manual_seed(seed_for(fit.seed, step, _DROPOUT))
        lr = rate(fit.optim, step, steps=self.total, steps_per_epoch=self.order.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.prior(z, t, eps)
        loss.backward()
        norm = self.optimizer.update(fit.clip)
        self.guard.note(step, loss.detach(), norm)
        self.step += 1
        return loss.detach(), norm, lr

    def _finish(self) -> None:
        """Write the prior; then its state has done its work."""
        fit = self.settings.fit
        self.prior.provenance = {"clips": len(self.z), "step": self.step, "fit": fit.to_dict()}
        save_prior(self.prior, self.out, weights=self._weights())
        (self.folder / FILE).unlink(missing_ok=True)

    def _weights(self) -> dict[str, Tensor] | None:
        return None if self.average is None else self.average.state_dict(self.prior)

    def _result(self) -> LatentPrior:
        weights = self._weights()
        if weights is not None:
            self.prior.load_state_dict(weights)
        return self.prior.eval()

    def _check(self) -> None:
        step = self.guard.bad_step()
        if step is not None:
            raise TrainingError(
                f"the loss or its gradient was not finite at step {step}; the last good state stays: look at the "
                "factors, or begin a new training with a lower --fit.lr"
            )

    def _state(self) -> dict[str, Any]:
        average = self.average
        return {
            "step": self.step,
            "digest": self.settings.digest,
            "recipe": self.settings.to_dict(),
            "clips": len(self.z),
            "prior": self.prior.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if average is None else average.weights,
            "average_updates": 0 if average is None else average.updates,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        held = state["prior"]
        same = state["clips"] == len(self.z) and held["mean"].shape == self.prior.mean.shape
        # Another device or batch encodes the same clips to the same factors but for their last digits.
        pairs = [(held[name], getattr(self.prior, name).cpu()) for name in ("mean", "std")] if same else []
        if not same or not all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs):
            raise InputError(f"{self.folder}: the training was begun on other clips; resume with the same data")
        self.prior.load_state_dict(held)
        # By the statistics the training was begun with, which are those that samples are unpacked by.
        self.z = self.prior.pack(self.factors)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            for name, weights in self.average.weights.items():
                weights.copy_(state["average"][name])
            self.average.updates = state["average_updates"]
        self.step = self.saved = int(state["step"])
