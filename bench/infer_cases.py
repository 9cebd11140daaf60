"""A whole job of ``diffsda infer`` in this process: clips read, reconstructed, written, by each way to run a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffsda.bench.cases import COMPILED, ONNX, OURS, Case
from diffsda.data.arrays import write
from diffsda.export.infer import Settings, Summary, run

JOBS = {"tiny_vector": (192, 32, 8), "tiny_video": (4, 2, 3)}
"""Clips of a job, clips in a tile, solver steps: a second or two on a core."""
EVERYBODY = (COMPILED, ONNX, OURS)
"""Who takes part, ours (eager) last."""


@dataclass(frozen=True)
class Job:
    """Clips on disk, and a model to reconstruct them; results go into a new folder each time, and go again."""

    one: Case
    tile: int
    place: TemporaryDirectory[str] = field(default_factory=TemporaryDirectory)

    @classmethod
    def of(cls, preset: str, clips: int, tile: int, steps: int) -> Job:
        """Write the clips of a job, a file each."""
        job = cls(Case(preset, clips, steps=steps), tile)
        job.folder.mkdir()
        for i, x in enumerate(job.one.clips.numpy()):
            write(job.folder / f"{i}.npz", {"x": x})
        return job

    @property
    def folder(self) -> Path:
        """Where the clips are."""
        return Path(self.place.name) / "clips"

    def session(self, who: str) -> Any:
        """Return the model prepared as somebody runs it."""
        one = self.one
        return {COMPILED: lambda: one.compiled, ONNX: lambda: one.exported, OURS: lambda: one.ours}[who]()

    def do(self, who: str) -> Summary:
        """Work through the job from its first clip to the last line of its results."""
        with TemporaryDirectory(dir=self.place.name) as out:
            settings = Settings(tile=self.tile)
            summary = run(self.session(who), self.folder, "reconstruct", Path(out) / "results", settings, model=who)
        assert (summary.done, summary.failed) == (self.one.batch, {}), summary
        return summary
