"""Whitening: zero mean and standard deviation 0.5 a channel, the scale the preconditioning expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SIGMA_DATA = 0.5


@dataclass(frozen=True)
class Whitening:
    """An affine map a channel (or feature): whitened = (raw - mean) * 0.5 / std.

    Works on numpy arrays and torch tensors of clips (B, V, C, H, W) or (B, V, F).
    Source: DiffSDA appendix B.2; the authors' ``mean_std_*.npz`` (keys mean, variance, std).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise InputError(
                f"whitening: got {len(self.mean)} means and {len(self.std)} deviations, expected one of each a channel"
            )
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(s) and s > 0 for s in self.std):
            raise InputError("whitening: got a mean or deviation that is not finite or not positive")

    @classmethod
    def measure(cls, x: np.ndarray, lengths: np.ndarray | None = None, mask: np.ndarray | None = None) -> Whitening:
        """Measure a channel's mean and deviation on clips, leaving out padding and missing values.

        Shapes: x (N, V, C, H, W) or (N, V, F); lengths (N,); mask like x, 1 = missing.
        A channel that does not vary, to six digits, gets deviation 1.
        """
        keep = np.ones(x.shape, bool)
        if lengths is not None:
            inside = np.arange(x.shape[1])[None] < np.asarray(lengths)[:, None]
            keep &= inside.reshape(inside.shape + (1,) * (x.ndim - 2))
        if mask is not None:
            keep &= np.asarray(mask) == 0
        axes = (0, 1, *range(3, x.ndim))
        count = np.maximum(keep.sum(axes), 1)
        shape = (1, 1, -1) + (1,) * (x.ndim - 3)
        mean = np.where(keep, x, 0).sum(axes, dtype=np.float64) / count
        var = (np.where(keep, x - mean.reshape(shape), 0).astype(np.float64) ** 2).sum(axes) / count
        # Relative, so that a feature in small units is one that varies.
        std = np.where(np.sqrt(var) > 1e-6 * np.abs(mean), np.sqrt(var), 1.0)
        return cls(tuple(map(float, mean)), tuple(map(float, std)))

    def apply(self, x: Any) -> Any:
        """Return whitened clips, of the kind given (array or tensor)."""
        mean, scale = self._per_channel(x)
        return (x - mean) * scale

    def undo(self, x: Any) -> Any:
        """Return clips in the units they came in."""
        mean, scale = self._per_channel(x)
        return x / scale + mean

    def _per_channel(self, x: np.ndarray | Tensor) -> tuple[Any, Any]:
        if x.ndim < 3 or x.shape[2] != len(self.mean):
            raise InputError(f"whitening: got clips {tuple(x.shape)}, expected {len(self.mean)} channels on axis 2")
        shape = (1, 1, -1) + (1,) * (x.ndim - 3)
        mean = np.asarray(self.mean, np.float64).reshape(shape)
        scale = SIGMA_DATA / np.asarray(self.std, np.float64).reshape(shape)
        if isinstance(x, np.ndarray):
            return mean.astype(x.dtype), scale.astype(x.dtype)
        return x.new_tensor(mean), x.new_tensor(scale)

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain data for a checkpoint's metadata."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Whitening:
        """Read what ``to_dict`` wrote, or the authors' arrays (mean, std or variance)."""
        try:
            mean = np.asarray(plain["mean"], np.float64).ravel()
            std = plain.get("std")
            std = np.sqrt(np.asarray(plain["variance"], np.float64)) if std is None else np.asarray(std, np.float64)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"whitening: got keys {', '.join(map(str, plain)) or 'none'}, expected mean and std (or variance)"
            ) from None
        except OverflowError:  # A whole number that no float can hold.
            raise InputError("whitening: got a mean or deviation that is not finite or not positive") from None
        return cls(tuple(map(float, mean)), tuple(map(float, std.ravel())))
