"""Single-head self-attention over the few pixels of a coarse level."""

from diffsda.kernels.attention.op import attention

__all__ = ["attention"]
