"""Floating-point operations of a training step: matrix products and convolutions, two a multiply-add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diffsda.kernels import backend
from diffsda.model import DiffSDA
from diffsda.nn.blocks import Attention
from diffsda.trainable import Trainable

_COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.RNNBase, nn.LSTMCell, Attention)
PASSES = 3
"""A step's cost in forward passes: each of the two gradients of a product costs as much as the product."""


def clip_flops(model: Trainable, frames: int) -> int:
    """Return the operations of one forward pass for the loss of one clip of V = ``frames`` frames.

    Other systems' losses are watched whole, over two clips of zeros. DiffSDA's: the encoder
    once; the network and the noise table ``optim.draws`` times. The layers are watched at work on one
    row of zeros, since all is proportional to the rows; the meta device would be slower, importing what it needs
    takes a second.
    """
    if not isinstance(model, DiffSDA):
        return _watched(model, frames)
    recipe, net, device = model.recipe, model.denoiser.backbone, next(model.parameters()).device
    want, draws, table = recipe.clips, recipe.optim.draws, net.modulation
    frame = (want.channels, want.size, want.size) if want.size else (want.channels,)
    found: list[int] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        found.append(_layer(module, inputs[0], output))

    def counted(work: Callable[[], Any]) -> int:
        found.clear()
        work()
        return sum(found)

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with model.evaluating(), torch.no_grad(), backend("torch"):
            row, factors = torch.zeros(1, *frame, device=device), torch.zeros(1, table.factor_in.in_features)
            modulation = torch.zeros(1, sum(table.channels), device=device)
            level = counted(lambda: table.noise_table(torch.zeros(1, device=device)))
            network = counted(lambda: net.network(row, modulation, modulation))
            once = counted(lambda: (model.encoder(row[None]), table.factor_table(factors.to(device))))
    finally:
        for hook in hooks:
            hook.remove()
    # A static factor the frames share is made once a clip.
    static = 2 * model.encoder.to_static.in_features * recipe.encoder.static * recipe.encoder.shared_static
    levels = draws * (frames if recipe.noise.per_frame else 1)
    return levels * level + draws * frames * network + frames * (once - static) + static


def step_flops(model: Trainable, frames: int) -> int:
    """Return the operations of training on one clip: forward and backward, without the optimiser's."""
    return PASSES * clip_flops(model, frames)


def _watched(model: Trainable, frames: int) -> int:
    want, device = model.recipe.clips, next(model.parameters()).device
    frame = (want.channels, want.size, want.size) if model.recipe.video else (want.channels,)
    found: list[int] = []
    hooks = [
        module.register_forward_hook(lambda m, inputs, output: found.append(_layer(m, inputs[0], output)))
        for module in model.modules()
        if isinstance(module, _COUNTED)
    ]
    try:
        with model.evaluating(), torch.no_grad():
            model.terms(torch.zeros(2, frames, *frame, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(found) // 2


def _layer(module: nn.Module, x: Tensor, output: Any) -> int:
    if isinstance(module, nn.Conv2d):
        inputs = module.in_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
        return 2 * output.numel() * inputs
    if isinstance(module, nn.ConvTranspose2d):
        outputs = module.out_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
        return 2 * x.numel() * outputs
    if isinstance(module, nn.LSTMCell):
        return 2 * x.shape[0] * 4 * module.hidden_size * (module.input_size + module.hidden_size)
    if isinstance(module, nn.Linear):
        return 2 * output.numel() * module.in_features
    if isinstance(module, nn.RNNBase):
        gates = module.hidden_size * (4 if isinstance(module, nn.LSTM) else 1)
        return 2 * x.shape[0] * x.shape[1] * gates * (module.input_size + module.hidden_size)
    if isinstance(module, Attention):
        pixels = x.shape[2] * x.shape[3]
        return 2 * 2 * x.shape[0] * pixels * pixels * x.shape[1]  # Scores, and what they weigh.
    return 0
