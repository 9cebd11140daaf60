"""What people can ask for when they prepare a set of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one's own files become a set; None leaves a choice to what the files are like."""

    source: Path
    name: str
    modality: Literal["video", "audio", "series"] | None = None
    frames: int | None = None
    """V of every clip."""
    size: int | None = None
    """Height and width of a video's frame."""
    id: str | None = None
    time: str | None = None
    by: Literal["file", "folder"] = "file"
    """What is dealt out to the splits as one: recordings and videos each, or all of a folder."""
    val_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0
    jobs: int = 1
    """Processes that work at once."""
    keep: bool = False
    """Leave videos as they are, rather than write them anew in the size to train on."""
    overwrite: bool = False

    def options(self) -> dict[str, Any]:
        """Return what decided the content, for dataset.json."""
        return {"val_share": self.val_share, "test_share": self.test_share, "seed": self.seed, "by": self.by}
