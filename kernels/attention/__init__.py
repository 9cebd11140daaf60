"""Single-head self-attention over the few pixels of a coarse level."""

from diffsda.kernels.attention.reference import attention

__all__ = ["attention"]
