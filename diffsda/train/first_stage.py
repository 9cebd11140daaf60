"""Fitting a first stage on frames: steps, records, checkpoints, and leaving in good order whatever happens."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from diffsda.atomic import atomic_write
from diffsda.errors import InputError, TrainingError
from diffsda.firststage.build import build
from diffsda.firststage.discriminator import PatchDiscriminator, check_patches
from diffsda.firststage.files import Model, save_first_stage
from diffsda.firststage.losses import psnr
from diffsda.firststage.perceptual import Perceptual, check_perceptual
from diffsda.kernels.backend import check as check_kernels
from diffsda.train.first_stage_frames import frames_of, mirrored
from diffsda.train.first_stage_options import FirstStageOptions, Plan
from diffsda.train.first_stage_step import FirstStageStep
from diffsda.train.interrupt import Interrupt
from diffsda.train.log import Log, provenance, summary_writer
from diffsda.train.order import seed_for
from diffsda.train.parallel import Processes, join
from diffsda.train.resume import read_state, write_state

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.data.stream import Stream

KEEP = 3
"""Model files kept in a run folder: the newest few."""
SHOWN = 12
"""Frames reconstructed at the end, to be looked at."""
FEW_CODES = 0.1
"""Share of codes in use below which a warning is told."""
PRECISIONS = ("auto", "float32", "bf16")
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Result:
    """How a fit ended. Shapes: frames and back (n, C, H, W), some frames and what came back of them."""

    model: Model
    step: int
    finished: bool
    signal: int | None
    """The signal that stopped it before its last step, if one did."""
    frames: Tensor
    back: Tensor

    @property
    def psnr(self) -> float:
        """How well those frames came back, in dB."""
        return float(psnr(self.frames, self.back))


def fit(
    plan: Plan,
    data: Clips | Stream,
    folder: str | Path,
    options: FirstStageOptions | None = None,
    *,
    start: Model | None = None,
    perceptual: Perceptual | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Result:
    """Fit a first stage on the frames of clips and leave it in a run folder.

    The folder gets recipe.json, provenance.json, log.jsonl, weights-<step>.safetensors and state.pt. ``start`` is a
    first stage whose weights to begin with, ``perceptual`` the distance to compare frames by besides L1; their digests
    are the plan's. ``progress`` is told step, total and the latest values, ``tell`` what a person should know.
    Raises: InputError for frames that do not fit, a folder that exists (unless resuming) or a bad option;
    TrainingError when a loss is not finite (the frames are saved beside the run); SaveError if the disk is full.
    """
    options = options or FirstStageOptions()
    tell = tell or (lambda words: None)
    run = _Run(plan, data, Path(folder), options, start, perceptual, tell)
    try:
        return run.go(progress or (lambda step, total, values: None))
    finally:
        run.close()


class _Run:
    def __init__(
        self,
        plan: Plan,
        data: Clips | Stream,
        folder: Path,
        options: FirstStageOptions,
        start: Model | None,
        perceptual: Perceptual | None,
        tell: Callable[[str], None],
    ) -> None:
        self.plan, self.folder, self.options, self.tell = plan, folder, options, tell
        self.log: Log | None = None
        processes = join(options.device)
        _check(plan, options, processes, start, perceptual)
        self.device = processes.device
        state = read_state(folder, plan) if options.resume else None
        if state is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists already, expected a new folder (or --resume to go on with its run)")
        fit = plan.fit
        self.frames = frames_of(data, plan.stage, batch=fit.batch, seed=fit.seed)
        torch.manual_seed(seed_for(fit.seed))
        model = build(plan.stage)
        discriminator = PatchDiscriminator(plan.stage.channels, fit.disc_width, fit.disc_layers)
        if start is not None:
            model.load_state_dict(start.state_dict())
        for network in (model, discriminator, *([] if perceptual is None else [perceptual])):
            network.to(self.device)
            if self.device.type == "cuda":
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.provenance = {
            "data": data.name,
            "seed": fit.seed,
            "begun_from": plan.begun_from,
            "perceptual": plan.perceptual,
        }
        bf16 = options.precision == "bf16" or (options.precision == "auto" and self.device.type == "cuda")
        self.model, self.step = model, 0
        self.stepper = FirstStageStep(model, discriminator, perceptual, fit, fresh=start is None, bf16=bf16)
        if state is not None:
            self._restore(state)
        self.saved: int | None = None
        self.warned = False
        self._open(new=state is None)
        tell(f"frames: {self.frames.describe()}")

    def go(self, progress: Progress) -> Result:
        """Run until the budget, the stop step or a signal."""
        total = self.plan.fit.steps
        end = min(total, self.options.until or total)
        signal: int | None = None
        self.model.train()
        with Interrupt() as interrupt:
            batches = self.frames.batches(range(self.step, end))
            began, since = time.perf_counter(), self.step
            while self.step < end and signal is None:
                values = self.stepper(self._next(batches), self.step)
                self.step += 1
                signal = interrupt.signal
                if self.step % self.stepper.guard.every == 0 or self._recording(end):
                    self._check()
                if self._recording(end):
                    now = time.perf_counter()
                    rate = (self.step - since) * self.plan.fit.batch / (now - began)
                    self._record({k: float(v) for k, v in values.items()}, rate, progress)
                    began, since = now, self.step
                if self.step % self.options.save_every == 0:
                    self.save()
            self.save()
        return self._result(total, signal if self.step < end else None)

    def save(self) -> None:
        """Write the state of the run and the first stage, each completely or not at all."""
        if self.saved == self.step:
            return
        self._check()
        write_state(self.folder, self._state())
        self.model.provenance["step"] = self.step
        save_first_stage(self.model, self.folder / f"weights-{self.step:08d}.safetensors")
        for old in sorted(self.folder.glob(f"weights-{'[0-9]' * 8}.safetensors"))[:-KEEP]:
            old.unlink()
        self.saved = self.step

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()

    def _recording(self, end: int) -> bool:
        return self.step % self.options.log_every == 0 or self.step == end

    def _next(self, batches: Iterator[Tensor]) -> Tensor:
        """Return the next step's frames, on the device."""
        x = next(batches)
        if self.device.type == "cuda" and not x.is_cuda:
            x = x.pin_memory()
        x = x.to(self.device, torch.float32, non_blocking=True)
        return mirrored(x, self.plan.fit.seed, self.step) if self.plan.fit.flip else x

    def _record(self, values: dict[str, float], rate: float, progress: Progress) -> None:
        values["frames_per_s"] = rate
        if self.plan.stage.kind == "vq":
            met, values["codes_used"] = self.stepper.met, self.stepper.codes_used()
            if values["codes_used"] < FEW_CODES and met >= 4 * self.plan.stage.codes and not self.warned:
                self.warned = True
                self.tell(
                    f"warning: step {self.step}: {values['codes_used']:.1%} of {self.plan.stage.codes} codes are in "
                    "use; frames will look alike. Move unused ones more often (fit.revive), take fewer (net.codes), "
                    "or begin from a fitted first stage (--start)"
                )
        assert self.log is not None
        self.log.write(self.step, **values)
        progress(self.step, self.plan.fit.steps, values)

    def _result(self, total: int, signal: int | None) -> Result:
        self.model.eval()
        shown = self.frames.shown(SHOWN)
        back = []
        with torch.no_grad():
            for frame in shown.split(1):
                z = self.model.encode(frame.to(self.device, torch.float32))
                back.append(self.model.decode(z).float().clamp(-1, 1).cpu())
        return Result(self.model, self.step, self.step >= total, signal, shown, torch.cat(back))

    def _open(self, *, new: bool) -> None:
        if new:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{self.folder}: cannot be made ({error.strerror}), expected a folder") from None
            _write_json(self.folder / "recipe.json", {**self.plan.to_dict(), "digest": self.plan.digest})
            about = {"frames": self.frames.describe(), **self.model.provenance}
            _write_json(self.folder / "provenance.json", {**provenance(), **about})
        for part in self.folder.glob(f".{'[0-9a-f]' * 16}.part"):
            part.unlink()  # What a kill left of a file that was being written.
        self.log = Log(self.folder, after=self.step, tensorboard=self.options.tensorboard)

    def _state(self) -> dict[str, Any]:
        stepper = self.stepper
        return {
            "step": self.step,
            "digest": self.plan.digest,
            "recipe": self.plan.to_dict(),
            "frames": self.frames.fingerprint(),
            "model": self.model.state_dict(),
            "optimizer": stepper.optimizer.state_dict(),
            "discriminator": stepper.discriminator.state_dict(),
            "disc_optimizer": stepper.disc_optimizer.state_dict(),
            "used": stepper.used,
            "met": stepper.met,
            "alive": stepper.alive,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state["frames"] != self.frames.fingerprint():
            raise InputError(
                f"{self.folder}: the run was begun on other frames ({state['frames']}), got "
                f"{self.frames.fingerprint()}; resume with the same data"
            )
        stepper = self.stepper
        self.model.load_state_dict(state["model"])
        stepper.optimizer.load_state_dict(state["optimizer"])
        stepper.discriminator.load_state_dict(state["discriminator"])
        stepper.disc_optimizer.load_state_dict(state["disc_optimizer"])
        stepper.used.copy_(state["used"])
        stepper.alive.copy_(state["alive"])
        stepper.met = int(state["met"])
        self.step = int(state["step"])

    def _check(self) -> None:
        """Stop if a loss was not finite, and save the frames that did it."""
        step = self.stepper.guard.bad_step()
        if step is None:
            return
        path = self.folder / f"offending-{step:08d}.npz"
        x = next(self.frames.batches(range(step, step + 1))).cpu().numpy()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, x=x)
        atomic_write(path, lambda file: file.write(buffer.getbuffer()))
        raise TrainingError(
            f"a loss or its gradient was not finite at step {step}; the frames are in {path}, the last good "
            "checkpoint stays: look at them, or begin a new run with a lower fit.lr"
        )


def _check(
    plan: Plan, options: FirstStageOptions, processes: Processes, start: Model | None, perceptual: Perceptual | None
) -> None:
    """Refuse what cannot be, before there is a folder."""
    if processes.world > 1:
        raise InputError(f"train-first-stage: got {processes.world} processes, expected one; leave out torchrun")
    if options.log_every < 1 or options.save_every < 1 or (options.until is not None and options.until < 1):
        raise InputError("log_every, save_every, until: got a number below 1, expected steps >= 1")
    if options.precision not in PRECISIONS:
        raise InputError(f"precision: got {options.precision!r}, expected {', '.join(PRECISIONS[:-1])} or bf16")
    if options.tensorboard:
        summary_writer()
    check_kernels(processes.device)
    if plan.fit.disc_weight and plan.fit.disc_start < plan.fit.steps:
        check_patches(plan.stage.size, plan.fit.disc_layers)
    if perceptual is not None:
        check_perceptual(plan.stage.channels, plan.stage.size)
    if start is not None:
        _check_start(plan, start)
    for name, held, given in (("start", plan.begun_from, start), ("perceptual", plan.perceptual, perceptual)):
        if (held is None) != (given is None):
            raise InputError(f"plan: got a digest of {name} without its weights, or weights without it; give both")


def _check_start(plan: Plan, start: Model) -> None:
    """Refuse weights of another configuration, naming the first setting that differs."""
    held = start.stage.to_dict()
    for name, wanted in plan.stage.to_dict().items():
        if name != "size" and held[name] != wanted:  # No weight depends on the size.
            raise InputError(
                f"--start: got a first stage with {name} {held[name]}, expected {wanted}; fit that configuration "
                f"(net.{name}) or begin from another file"
            )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
