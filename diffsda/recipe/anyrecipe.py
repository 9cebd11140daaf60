"""What recipes of all systems have in common."""

from __future__ import annotations

from typing import Any, Protocol, Self

from diffsda.recipe.parts import Clips, Optim, Sampling


class AnyRecipe(Protocol):
    """One model and its training, whatever the system."""

    @property
    def name(self) -> str:
        """The recipe's name; nothing depends on it."""
        ...

    @property
    def system(self) -> str:
        """The system's name."""
        ...

    @property
    def clips(self) -> Clips:
        """The shape of a clip and what it holds."""
        ...

    @property
    def sampling(self) -> Sampling:
        """How clips are sampled; ``steps`` alone counts for other systems than DiffSDA."""
        ...

    @property
    def optim(self) -> Optim:
        """Optimiser, budget and seed."""
        ...

    @property
    def video(self) -> bool:
        """Whether frames are images."""
        ...

    @property
    def static(self) -> int:
        """S, width of the static factor."""
        ...

    @property
    def dynamic(self) -> int:
        """D, width of a dynamic factor."""
        ...

    @property
    def shared_static(self) -> bool:
        """Whether a clip has one static factor, or one a frame."""
        ...

    @property
    def digest(self) -> str:
        """Twelve hex digits that change with any value but the name."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain data, fit for JSON."""
        ...

    def replace(self, **parts: dict[str, Any] | Any) -> Self:
        """Return a copy with changes: ``recipe.replace(optim={'lr': 1e-3}, name='mine')``."""
        ...
