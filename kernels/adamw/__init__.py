"""One pass over all weights: gradient clipping, AdamW, moving average and a copy in the network's dtype."""

from diffsda.kernels.adamw.op import adamw

__all__ = ["adamw"]
