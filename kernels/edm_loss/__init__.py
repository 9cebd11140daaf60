"""The weighted squared error of the denoised clip and its gradient for the network's output in one pass."""

from diffsda.kernels.edm_loss.op import edm_loss

__all__ = ["edm_loss"]
