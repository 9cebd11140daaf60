"""What the encoder takes out of a clip: one static factor, many dynamic factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffsda.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Factors:
    """The static factor s and the dynamic factors d of a batch of clips.

    Shapes: static (B, S), or (B, V, S) when the static factor is not shared over frames; dynamic (B, V, D).
    Source: DiffSDA section 4.1 (z = (s, d_1..d_V)).
    """

    static: Tensor
    dynamic: Tensor

    def __post_init__(self) -> None:
        if self.dynamic.ndim != 3 or self.static.ndim not in (2, 3):
            raise InputError(
                f"factors: got static {tuple(self.static.shape)} and dynamic {tuple(self.dynamic.shape)}, "
                "expected static (B, S) or (B, V, S) and dynamic (B, V, D)"
            )
        if self.static.shape[0] != self.dynamic.shape[0] or (
            self.static.ndim == 3 and self.static.shape[1] != self.dynamic.shape[1]
        ):
            raise InputError(
                f"factors: static {tuple(self.static.shape)} and dynamic {tuple(self.dynamic.shape)} "
                "are not of the same clips (batch, and frames when the static factor is not shared)"
            )

    @property
    def shared(self) -> bool:
        """Whether one static factor serves all frames of a clip."""
        return self.static.ndim == 2

    @property
    def batch(self) -> int:
        """Number of clips B."""
        return self.dynamic.shape[0]

    @property
    def frames(self) -> int:
        """Number of frames V."""
        return self.dynamic.shape[1]

    def per_frame(self) -> Tensor:
        """Return a (B, V, D + S): dynamic first, static second, as the networks read it.

        Source: the authors' code (their ``a``).
        """
        import torch

        static = self.static[:, None].expand(-1, self.frames, -1) if self.shared else self.static
        return torch.cat([self.dynamic, static], dim=-1)  # (B, V, D + S)

    def swap(self, dynamic_from: Factors) -> Factors:
        """Keep this static factor, take the dynamic factors of the other clips.

        Raises: InputError if the two hold different numbers of clips, or the static factor is per frame
        and the clips differ in length.
        """
        return Factors(self.static, dynamic_from.dynamic)

    def to(self, *args: object, **kwargs: object) -> Factors:
        """Move or cast both factors, as ``Tensor.to`` does."""
        return Factors(self.static.to(*args, **kwargs), self.dynamic.to(*args, **kwargs))  # type: ignore[call-overload]

    def detach(self) -> Factors:
        """Return the factors cut from the graph that made them."""
        return Factors(self.static.detach(), self.dynamic.detach())

    def __getitem__(self, rows: object) -> Factors:
        """Select clips: an index, a slice or an index tensor over B (one clip keeps its batch axis)."""
        if isinstance(rows, int):
            rows = slice(rows, rows + 1 or None)
        return Factors(self.static[rows], self.dynamic[rows])  # type: ignore[index]

    def __len__(self) -> int:
        return self.batch

    def pack(self) -> Tensor:
        """Return z (B, S + V·D): static first, then the dynamic factors frame by frame.

        Source: the authors' latent prior, which models this vector.
        Raises: InputError when the static factor is not shared.
        """
        import torch

        if not self.shared:
            raise InputError("pack: the static factor is per frame (B, V, S); only a shared one can be packed")
        return torch.cat([self.static, self.dynamic.flatten(1)], dim=1)

    @staticmethod
    def unpack(z: Tensor, static: int, dynamic: int) -> Factors:
        """Undo ``pack``: z (B, S + V·D) with S = ``static`` and D = ``dynamic``."""
        rest = z.shape[1] - static if z.ndim == 2 else -1
        if rest <= 0 or rest % dynamic:
            raise InputError(
                f"unpack: got z {tuple(z.shape)}, expected (B, {static} + V*{dynamic}) with V a whole number"
            )
        return Factors(z[:, :static], z[:, static:].reshape(z.shape[0], -1, dynamic))
