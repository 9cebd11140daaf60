"""Tensor operations behind one contract each: a plain torch reference, a Triton kernel, one switch.

Importing this imports torch, never triton. Functions carry the names of their folders and hide them.
"""

from diffsda.kernels.adamw import adamw
from diffsda.kernels.attention import attention
from diffsda.kernels.backend import backend, use
from diffsda.kernels.edm_loss import edm_loss
from diffsda.kernels.film_layer_norm import film_layer_norm
from diffsda.kernels.group_norm import group_norm
from diffsda.kernels.heun import heun_correct, heun_predict
from diffsda.kernels.nearest_code import nearest_code
from diffsda.kernels.precondition import precondition

__all__ = [
    "adamw",
    "attention",
    "backend",
    "edm_loss",
    "film_layer_norm",
    "group_norm",
    "heun_correct",
    "heun_predict",
    "nearest_code",
    "precondition",
    "use",
]
