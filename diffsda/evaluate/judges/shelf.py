"""The shelf of judges: the paper's where it is there, else what stands in for it, each with a memory on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffsda.errors import InputError, MissingPackage
from diffsda.evaluate.judges.cache import MOST, Store
from diffsda.evaluate.judges.catalogue import CATALOGUE, KINDS, Entry
from diffsda.evaluate.judges.kinds import (
    Array,
    ClipFeatures,
    Embedder,
    Judge,
    Landmarks,
    Reader,
    SpeechQuality,
    VoiceEmbedder,
)
from diffsda.evaluate.judges.remembered import (
    RememberedClipFeatures,
    RememberedEmbedder,
    RememberedLandmarks,
    RememberedSpeechQuality,
    RememberedVoices,
)


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Hands out judges by kind.

    Every method raises MissingPackage where no judge of the kind is there, with how to get one, and InputError for a
    judge that ``prefer`` names and nobody knows, or a weight file that will not do.
    """

    cache: Path | None = None
    """Folder for what judges said and readers that were trained; None keeps it in memory."""
    prefer: Mapping[str, str] = field(default_factory=dict)
    """Judge by kind (landmarks, faces, bodies, people, voices, speech_quality, clip_features), where not the first."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Weight file by judge, for those that come without (openpose, market1501, i3d)."""
    device: str = "cpu"
    most: int = MOST
    """Bytes of judges' output kept on disk, each judge; the oldest goes first."""
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for kind, name in self.prefer.items():
            if kind not in KINDS:
                raise InputError(f"judge: got the kind {kind!r}, expected one of {', '.join(KINDS)}")
            known = [entry.name for entry in CATALOGUE if entry.kind == kind]
            if name not in known:
                raise InputError(f"judge of {kind}: got {name!r}, expected one of {', '.join(known)}")
        known = sorted({entry.name for entry in CATALOGUE if entry.file})
        for name in self.files:
            if name not in known:
                raise InputError(f"weight file: got one for {name!r}, expected one for {', '.join(known)}")

    def landmarks(self) -> Landmarks:
        """Return what finds key points of a face."""
        return self._once("landmarks", RememberedLandmarks)

    def faces(self) -> Embedder:
        """Return what tells faces apart."""
        return self._once("faces", RememberedEmbedder)

    def bodies(self) -> Landmarks:
        """Return what finds joints of a body."""
        return self._once("bodies", RememberedLandmarks)

    def people(self, as_published: bool = False) -> Embedder:
        """Return what tells people apart by their whole figure; ``as_published``, as the authors' code uses it."""
        return self._once("people", RememberedEmbedder, as_published)

    def voices(self) -> VoiceEmbedder:
        """Return what tells voices apart."""
        return self._once("voices", RememberedVoices)

    def speech_quality(self) -> SpeechQuality:
        """Return what rates speech."""
        return self._once("speech_quality", RememberedSpeechQuality)

    def clip_features(self) -> ClipFeatures:
        """Return what describes clips for distances between sets of them."""
        return self._once("clip_features", RememberedClipFeatures)

    def reader(
        self,
        clips: Array,
        labels: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        names: Mapping[str, tuple[str, ...]] | None = None,
        frame_labels: tuple[str, ...] = (),
        seed: int = 0,
        **settings: Any,
    ) -> Reader:
        """Return a reader trained on these clips; the same clips, labels, settings and seed are trained on once.

        clips: (N, V, ...) in people's units. labels: by factor, (N,) or (N, V) where constant, -1 = unknown.
        names: names of the classes by factor (``Clips.label_names``). frame_labels: factors to be read of single
        frames too. settings: fields of ``sequence.Settings``.
        Raises: InputError for labels that cannot be learned (see ``SequenceJudge.fit``).
        """
        from diffsda.evaluate.judges.examples import Examples
        from diffsda.evaluate.judges.trained import trained

        return trained(
            None if self.cache is None else self.cache / "readers",
            self._made.setdefault("reader", {}),
            Examples.of(clips, labels, lengths, names, frame_labels),
            seed=seed,
            device=self.device,
            settings=settings,
        )

    def _once(self, kind: str, remembered: Callable[[Any, Store], Any], as_published: bool = False) -> Any:
        key = f"{kind}, as published" if as_published else kind
        if key not in self._made:
            judge = self._find(kind, as_published)
            # One package may be judge of two kinds, with an answer of its own to the same frame for each.
            store = Store.of(self.cache, f"{kind} {judge.name}", judge.version, self.most)
            self._made[key] = remembered(judge, store)
        return self._made[key]

    def _find(self, kind: str, as_published: bool) -> Judge:
        """Make the judge that is preferred, or the first that is there."""
        entries = [entry for entry in CATALOGUE if entry.kind == kind]
        if kind in self.prefer:
            return self._make(next(entry for entry in entries if entry.name == self.prefer[kind]), as_published)
        missing = []
        for entry in entries:
            if entry.file and entry.name not in self.files:
                missing.append(f"{entry.name}: {entry.get}")
                continue
            try:
                return self._make(entry, as_published)
            except MissingPackage as error:
                missing.append(str(error))
        raise MissingPackage(f"no judge of {kind} is there; get one: {'; or '.join(missing)}")

    def _make(self, entry: Entry, as_published: bool) -> Judge:
        if entry.file and entry.name not in self.files:
            raise MissingPackage(f"{entry.name}: needs its weight file; {entry.get}")
        make = entry.make_as_published if as_published and entry.make_as_published is not None else entry.make
        return make(self.files.get(entry.name), self.device)
