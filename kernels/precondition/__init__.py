"""Noise in, scaling, cast and layout of the network's input in one operation."""

from diffsda.kernels.precondition.op import precondition

__all__ = ["precondition"]
