"""One step of fitting a first stage: reconstruct, compare, fool the discriminator, then teach it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from diffsda.firststage.discriminator import PatchDiscriminator, hinge
from diffsda.firststage.files import Model
from diffsda.firststage.losses import Pass, adaptive_weight, psnr, run_quantised, run_variational
from diffsda.firststage.perceptual import Perceptual
from diffsda.firststage.vq import QuantisedAutoencoder
from diffsda.train.first_stage_options import Fit
from diffsda.train.guard import Guard
from diffsda.train.optim import FusedAdamW
from diffsda.train.order import seed_for

DRAW_WORD, REVIVE_WORD = 14, 15
"""Last words of the seeds of a step's draw from the posterior, and of what unused codes become."""
BETAS = (0.5, 0.9)
"""Adam's. Source: the authors' fine-tuning of their first stage."""


class FirstStageStep:
    """Do steps; call with the frames (N, C, H, W) in [-1, 1], on the device, and the step's number.

    The autoencoder is moved first, by L1, perceptual distance, the latents' own loss and, from ``disc_start`` on, what
    the discriminator thinks of its frames; then the discriminator, by the same frames.
    Source: VQGAN and latent diffusion. Differs: the discriminator sees the frames the autoencoder made before its own
    move, which saves a second pass.
    """

    def __init__(
        self,
        model: Model,
        discriminator: PatchDiscriminator,
        perceptual: Perceptual | None,
        fit: Fit,
        *,
        fresh: bool,
        bf16: bool,
    ) -> None:
        self.model, self.discriminator, self.perceptual, self.fit = model, discriminator, perceptual, fit
        self.device, self.bf16 = model.device, bf16
        self.first_revival = 0 if fresh else 1
        """A fresh codebook begins at latents; what a fitted one did not use in a single step may be in use."""
        # Without decay AdamW is Adam.
        rate = {"lr": fit.lr * fit.batch, "betas": BETAS, "weight_decay": 0.0}
        self.optimizer = FusedAdamW(model.parameters(), **rate)  # type: ignore[arg-type]
        self.disc_optimizer = FusedAdamW(discriminator.parameters(), **rate)  # type: ignore[arg-type]
        self.guard = Guard(self.device)
        codes = model.stage.codes
        self.used = torch.zeros(codes, dtype=torch.bool, device=self.device)
        """Codes met since the last record."""
        self.met = 0
        """Latent cells seen since then."""
        self.alive = torch.zeros_like(self.used)
        """Codes met since unused ones were last moved."""

    def __call__(self, x: Tensor, step: int) -> dict[str, Tensor]:
        """Do a step; return its losses, on the device."""
        with self._autocast():
            passed = self._pass(x, step)
            said = self._terms(x, passed)
        reconstruction = said["l1"] + said["perceptual"] if "perceptual" in said else said["l1"]
        loss = reconstruction + said["latent"]
        adversarial = self.fit.disc_weight > 0 and step >= self.fit.disc_start
        if adversarial:
            weight, fooled = self._fool(passed.back, reconstruction)
            loss = loss + self.fit.disc_weight * weight * fooled
            said |= {"fooled": fooled, "adaptive": weight}
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = self.optimizer.update()
        self.guard.note(step, loss.detach(), norm)
        if adversarial:
            said["discriminator"] = self._teach(x, passed.back.detach(), step)
        said |= {"loss": loss, "grad_norm": norm, "psnr": psnr(x, passed.back)}
        self._count(passed, step)
        return {name: value.detach() for name, value in said.items()}

    def codes_used(self) -> float:
        """Return the share of codes met since the last call, and begin to count anew."""
        share = float(self.used.float().mean())
        self.used.zero_()
        self.met = 0
        return share

    def _pass(self, x: Tensor, step: int) -> Pass:
        if isinstance(self.model, QuantisedAutoencoder):
            return run_quantised(self.model, x)
        draw = torch.Generator().manual_seed(seed_for(self.fit.seed, step, DRAW_WORD))
        return run_variational(self.model, x, draw)

    def _terms(self, x: Tensor, passed: Pass) -> dict[str, Tensor]:
        """Return the weighted parts of the loss but the adversarial one."""
        latent = self.fit.codebook if passed.indices is not None else self.fit.kl
        terms = {"l1": (x - passed.back).abs().mean()}
        if self.perceptual is not None and self.fit.perceptual:
            terms["perceptual"] = self.fit.perceptual * self.perceptual(x, passed.back).float().mean()
        terms["latent"] = latent * passed.prior
        return terms

    def _fool(self, back: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
        """Return the adversarial loss of the autoencoder and what balances it."""
        self.discriminator.requires_grad_(False)
        with self._autocast():
            fooled = -self.discriminator(back).float().mean()
        last = self.model.decoder.conv_out.weight
        return adaptive_weight(reconstruction, fooled, last), fooled

    def _teach(self, x: Tensor, back: Tensor, step: int) -> Tensor:
        self.discriminator.requires_grad_(True)
        with self._autocast():
            real, fake = self.discriminator(x), self.discriminator(back)
        loss = hinge(real.float(), fake.float())
        self.disc_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.guard.note(step, loss.detach(), self.disc_optimizer.update())
        return loss

    def _count(self, passed: Pass, step: int) -> None:
        if passed.indices is None or not isinstance(self.model, QuantisedAutoencoder):
            return
        used = self.model.quantize.used(passed.indices)
        self.used |= used
        self.alive |= used
        self.met += passed.indices.numel()
        if self.fit.revive and step % self.fit.revive == 0 and step >= self.first_revival:
            draw = torch.Generator().manual_seed(seed_for(self.fit.seed, step, REVIVE_WORD))
            self.model.quantize.revive(self.alive, passed.z, draw)
            self.alive.zero_()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)
