"""Group normalisation with per-sample modulation, activation and dropout in one operation."""

from diffsda.kernels.group_norm.reference import group_norm

__all__ = ["group_norm"]
