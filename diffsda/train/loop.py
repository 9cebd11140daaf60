"""The training loop: steps, records, checkpoints, and leaving in good order whatever happens."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from diffsda.atomic import atomic_write
from diffsda.checkpoint import save
from diffsda.data.clip import Clips
from diffsda.errors import InputError, TrainingError
from diffsda.firststage.whiten import Whitening
from diffsda.kernels.backend import check as check_kernels
from diffsda.model import DiffSDA
from diffsda.recipe import AnyRecipe
from diffsda.systems import build
from diffsda.train.data import Batch, Source, fits, whitening_for
from diffsda.train.ema import Average
from diffsda.train.graph import GraphedStep, check_graph
from diffsda.train.guard import Guard
from diffsda.train.interrupt import Interrupt
from diffsda.train.log import Log, provenance, summary_writer
from diffsda.train.lr import rate
from diffsda.train.optim import FusedAdamW
from diffsda.train.options import Options
from diffsda.train.order import Order, seed_for
from diffsda.train.parallel import Processes, join, wrap
from diffsda.train.precision import is_bf16, lay_out, products
from diffsda.train.prefetch import Prefetch
from diffsda.train.recompute import recompute
from diffsda.train.resume import read_state, write_state
from diffsda.train.source import open_source
from diffsda.train.speed import Meter
from diffsda.train.step import WINDOW_STREAM, TrainStep, seed_of
from diffsda.train.windows import cut
from diffsda.trainable import Trainable

if TYPE_CHECKING:
    from diffsda.data.stream import Stream

KEEP = 3
"""Model files kept in a run folder: the newest few."""


@dataclass(frozen=True)
class Result:
    """How a training ended."""

    model: Trainable
    step: int
    finished: bool
    signal: int | None
    """The signal that stopped it before its last step, if one did."""


def train(
    recipe: AnyRecipe,
    clips: Clips | Stream,
    folder: str | Path,
    options: Options | None = None,
    *,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Result:
    """Train a model on clips, in memory or read as they are used, and leave it in a run folder.

    The folder gets recipe.json, provenance.json, log.jsonl, weights-<step>.safetensors (the average where the
    recipe keeps one) and state.pt. ``progress`` is told step, total and the latest values.
    Raises: InputError for clips that do not fit, a folder that exists (unless resuming) or a bad option;
    TrainingError when the loss is not finite (the batch is saved beside the run); SaveError if the disk is
    full (the last checkpoint stays).
    """
    options = options or Options()
    processes = join(options.device)
    fits(clips, recipe)
    run = _Run(recipe, clips, Path(folder), options, processes)
    try:
        talk = progress if progress is not None and processes.first else lambda step, total, values: None
        return run.go(talk)
    finally:
        run.close()


class _Run:
    def __init__(
        self, recipe: AnyRecipe, clips: Clips | Stream, folder: Path, options: Options, processes: Processes
    ) -> None:
        self.recipe, self.folder, self.options, self.processes = recipe, folder, options, processes
        self.fingerprint = clips.fingerprint()
        self.log: Log | None = None
        if options.log_every < 1 or options.save_every < 1 or (options.until is not None and options.until < 1):
            raise InputError("log_every, save_every, until: got a number below 1, expected steps >= 1")
        if options.compile and options.recompute:
            raise InputError(
                "compile: got recompute as well, expected one of them: what is compiled chooses for itself"
            )
        check_kernels(processes.device)
        check_graph(options, recipe, processes)
        if options.tensorboard:
            summary_writer()  # Refused now, before there is a folder.
        state = read_state(folder, recipe) if options.resume else None
        if state is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists already, expected a new folder (or --resume to go on with its run)")
        whitening = whitening_for(clips, recipe, options.whiten)
        self.order = Order(len(clips), recipe.optim.batch, recipe.optim.seed)
        device = processes.device
        self.source = open_source(clips, whitening, recipe.optim, self.order, device, options.resident)
        self.total = recipe.optim.steps or recipe.optim.epochs * self.order.steps_per_epoch
        torch.manual_seed(seed_for(recipe.optim.seed))
        bf16 = is_bf16(options, processes)
        self.model = build(recipe, whitening).to(processes.device)
        lay_out(self.model, recipe, options, processes)
        self.meter = Meter(self.model, self.source.frames, processes, bf16=bf16) if processes.first else None
        self.model.provenance = {"data": clips.name, "clips": len(clips), "seed": recipe.optim.seed}
        if not isinstance(clips, Clips) and "first_stage_digest" in clips.options:
            self.model.provenance["first_stage"] = clips.options["first_stage_digest"]
        if options.compile:
            _compile(self.model)
        if options.recompute:
            recompute(self.model, torch_dropout=not options.graph)
        o = recipe.optim
        self.average = Average(self.model, o.ema) if o.ema else None
        self.optimizer = FusedAdamW(
            self.model.parameters(), lr=o.lr, betas=o.betas, weight_decay=o.weight_decay, average=self.average
        )
        self.step = self.begun = self._restore(state) if state is not None else 0
        self.guard = Guard(processes.device)
        wrapped = wrap(self.model, processes, parts=o.accumulate)
        step = TrainStep(wrapped, self.optimizer, recipe, processes, bf16=bf16, guard=self.guard)
        self.parts = step.parts
        self.train_step = GraphedStep(step) if options.graph else step
        self.supply: Prefetch | None = None
        self.saved: int | None = None
        if processes.first:
            self._open(new=state is None)
        processes.wait()

    def go(self, progress: Callable[[int, int, dict[str, float]], None]) -> Result:
        """Run until the budget, the stop step or a signal."""
        end = min(self.total, self.options.until or self.total)
        signal: int | None = None
        device = self.processes.device
        self.model.train()
        with (
            Interrupt() as interrupt,
            products(self.options, self.processes),
            Prefetch(self._make(range(self.step, end)), range(self.step, end), self.parts, device) as self.supply,
        ):
            if self.meter is not None:
                self.meter.begin()
            while self.step < end and signal is None:
                loss, norm, lr = self._advance()
                look = self.step % self.guard.every == 0
                record = self.step % self.options.log_every == 0 or self.step == end
                # Every process takes part in what they ask each other, whoever writes.
                if look or record:
                    self._check()
                if look or self.processes.world == 1:
                    signal = self.processes.least(interrupt.signal)
                if record:
                    self._record(loss, norm, lr, progress)
                if self.step % self.options.save_every == 0:
                    self.save()
            self.save()
        self.model.eval()
        return Result(self._result(), self.step, self.step >= self.total, signal if self.step < end else None)

    def _record(
        self, loss: Tensor, norm: Tensor, lr: float, progress: Callable[[int, int, dict[str, float]], None]
    ) -> None:
        mean = float(self.processes.mean(loss))
        named = {name: self.processes.mean(term) for name, term in self.model.named_terms().items()}
        if self.meter is None or self.supply is None:
            return
        terms = {f"loss_{name}": float(term) for name, term in named.items()}
        values = {"loss": mean, **terms, "grad_norm": float(norm), "lr": lr, **self.meter.values(self.supply.waited)}
        if self.log is not None:
            self.log.write(self.step, **values)
        progress(self.step, self.total, values)

    def save(self) -> None:
        """Write the state of the run and the model, each completely or not at all."""
        if self.saved == self.step:
            return
        self._check()
        self.processes.share_norms(self.model, None if self.average is None else self.average.norms)
        if self.processes.first:
            self.model.provenance["step"] = self.step
            self.model.provenance["samples_seen"] = self.step * self.recipe.optim.batch
            write_state(self.folder, self._state())
            weights = None if self.average is None else self.average.state_dict(self.model)
            save(self.model, self.folder / f"weights-{self.step:08d}.safetensors", weights=weights)
            for old in sorted(self.folder.glob(f"weights-{'[0-9]' * 8}.safetensors"))[:-KEEP]:
                old.unlink()
        self.saved = self.step
        self.processes.wait()

    def _make(self, steps: range) -> Callable[[int], Batch]:
        """Return what makes the batches of these steps: this process's clips at least."""
        return self._batch if isinstance(self.source, Source) else self.source.supply(steps, self.parts)

    def _batch(self, step: int) -> Batch:
        """Return the clips of a step, cut to their windows; a function of seed and step alone."""
        if not isinstance(self.source, Source):
            return self.source.batch(step)
        optim = self.recipe.optim
        batch = self.source.batch(self.order.indices(step))
        batch = cut(batch, optim.window, seed_for(optim.seed, step, WINDOW_STREAM))
        return batch.padded(self.source.frames) if self.options.graph else batch

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()

    def _advance(self) -> tuple[Tensor, Tensor, float]:
        """Do one step; return its loss, gradient norm and learning rate."""
        assert self.supply is not None
        ready = self.supply.next()
        lr = rate(self.recipe.optim, self.step, steps=self.total, steps_per_epoch=self.order.steps_per_epoch)
        if self.step % self.order.steps_per_epoch == 0 or self.step == self.begun:
            self.model.begin_epoch(self.step // self.order.steps_per_epoch)
        loss, norm = self.train_step(ready, self.step, lr)
        if self.average is not None:
            self.average.follow_norms(self.model)
        if self.meter is not None:
            self.meter.step(ready)
        self.step += 1
        return loss, norm, lr

    def _result(self) -> Trainable:
        if self.average is None:
            return self.model
        model = build(self.recipe, self.model.whitening).to(self.processes.device)
        model.load_state_dict(self.average.state_dict(self.model))
        model.provenance = dict(self.model.provenance)
        return model.eval()

    def _open(self, *, new: bool) -> None:
        if new:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{self.folder}: cannot be made ({error.strerror}), expected a folder") from None
            _write_json(self.folder / "recipe.json", {**self.recipe.to_dict(), "digest": self.recipe.digest})
            _write_json(self.folder / "provenance.json", {**provenance(), "reader": self.source.describe()})
        for part in self.folder.glob(f".{'[0-9a-f]' * 16}.part"):
            part.unlink()  # What a kill left of a file that was being written.
        self.log = Log(self.folder, after=self.step, tensorboard=self.options.tensorboard)

    def _state(self) -> dict[str, Any]:
        average = self.average
        return {
            "step": self.step,
            "digest": self.recipe.digest,
            "recipe": self.recipe.to_dict(),
            "clips": len(self.source),
            "fingerprint": self.fingerprint,
            "whitening": None if self.model.whitening is None else self.model.whitening.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if average is None else average.held,
            "average_updates": 0 if average is None else average.updates,
        }

    def _restore(self, state: dict[str, Any]) -> int:
        if state["clips"] != len(self.source):
            raise InputError(
                f"{self.folder}: the run was begun on {state['clips']} clips, got {len(self.source)}; "
                "resume with the same data"
            )
        if state.get("fingerprint", self.fingerprint) != self.fingerprint:
            raise InputError(f"{self.folder}: the run was begun on other clips, or in another order; use the same data")
        if not _alike(state["whitening"], self.model.whitening):
            raise InputError(f"{self.folder}: the run was begun on other clips or with another --whiten; use the same")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            with torch.no_grad():
                for name, held in self.average.held.items():
                    held.copy_(state["average"][name])  # Saved from another memory format, maybe.
            self.average.updates = state["average_updates"]
        return int(state["step"])

    def _check(self) -> None:
        """Stop if a loss was not finite, and save the batch that did it."""
        step = self.processes.least(self.guard.bad_step())
        if step is None:
            return
        indices = self.order.indices(step)
        path = self.folder / f"offending-{step:08d}.npz"
        if self.processes.first:
            self._save_batch(path, self._batch(step), indices, step)
        raise TrainingError(
            f"the loss or its gradient was not finite at step {step}; the batch is in {path}, the last good "
            "checkpoint stays: look at the batch, or begin a new run with a lower optim.lr"
        )

    def _save_batch(self, path: Path, batch: Batch, indices: np.ndarray, step: int) -> None:
        draws = self.model.training_draws(batch.x.shape, seed_of(self.recipe, step), self.processes.device)
        arrays: dict[str, Any] = {"x": batch.x.cpu().numpy(), "indices": indices}
        for name, drawn in vars(draws).items():
            arrays[name] = drawn.cpu().numpy() if isinstance(drawn, Tensor) else drawn
        if batch.lengths is not None:
            arrays["lengths"] = batch.lengths.numpy()
        if batch.mask is not None:
            arrays["mask"] = batch.mask.numpy()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def _compile(model: Trainable) -> None:
    """Compile what the loss calls: convolutions and norms; embeddings and noise stay outside."""
    if not isinstance(model, DiffSDA):
        raise InputError(
            f"compile: got a recipe of {model.recipe.system}, expected one of diffsda; leave out --compile"
        )
    backbone = model.denoiser.backbone
    backbone.network = torch.compile(backbone.network)  # type: ignore[method-assign]
    model.encoder.frame.compile()


def _alike(held: dict[str, Any] | None, now: Whitening | None) -> bool:
    """Compare the whitening a run was begun with to that of the clips it is to go on with."""
    if held is None or now is None:
        return held is None and now is None
    old = Whitening.from_dict(held)
    return np.allclose(old.mean, now.mean, rtol=1e-4, atol=1e-6) and np.allclose(old.std, now.std, rtol=1e-4)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
