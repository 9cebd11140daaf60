"""The two halves of a step of Heun's method, each in one pass that also prepares the network's next input."""

from diffsda.kernels.heun.op import heun_correct, heun_predict

__all__ = ["heun_correct", "heun_predict"]
