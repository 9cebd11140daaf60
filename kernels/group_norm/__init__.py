"""Group normalisation with per-sample modulation, activation and dropout in one operation."""

from diffsda.kernels.group_norm.op import group_norm

__all__ = ["group_norm"]
