"""Activation recomputation: a block keeps its input only, and runs again when its gradients are due."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from diffsda.errors import InputError
from diffsda.nn.blocks import AdaGNBlock, EncoderBlock
from diffsda.trainable import Trainable


def recompute(model: Trainable, *, torch_dropout: bool = True) -> int:
    """Make every residual block of a video model run again backward; return how many there are.

    Costs one more forward pass of them; losses and gradients stay the same, dropout included: our kernels' follows
    from a state that a step does not change between forward and backward, torch's from its generator, whose state
    is kept where ``torch_dropout`` (a captured graph cannot). Weights' names stay what they are.
    Raises: InputError for a vector model: what it keeps is modulation tables, which parts make smaller.
    """
    if model.recipe.system != "diffsda":
        raise InputError(f"recompute: got a recipe of {model.recipe.system}, expected one of diffsda; leave it out")
    if not model.recipe.video:
        raise InputError(
            f"recompute: got the vector recipe {model.recipe.name}, expected a video recipe; to save memory here, work "
            "in parts (optim.accumulate)"
        )
    blocks = [m for m in model.modules() if isinstance(m, (AdaGNBlock, EncoderBlock))]
    for block in blocks:
        block.forward = partial(_again, block.forward, torch_dropout)  # type: ignore[method-assign]
    return len(blocks)


def _again(forward: Callable[..., Any], keep: bool, *inputs: Any) -> Any:
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=keep)
