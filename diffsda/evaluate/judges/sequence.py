"""A judge that is trained: it reads the labels of a clip, and of its frames, from the clip itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import UNKNOWN
from diffsda.evaluate.judges.examples import Examples, checked, share
from diffsda.evaluate.judges.frames import by_clip
from diffsda.evaluate.judges.kinds import Array, Floats
from diffsda.evaluate.judges.network import Form, SequenceNetwork
from diffsda.evaluate.judges.training import AT_ONCE, Batchable, Settings, train


@dataclass(frozen=True)
class SequenceJudge:
    """Reads labels with a network trained on real clips.

    Its accuracy is that on clips held out of its training, some of which may show what training clips showed: for
    people or characters it has never seen, read clips of the test part.
    """

    network: SequenceNetwork
    form: Form
    factors: Mapping[str, tuple[str, ...]]
    accuracy: Mapping[str, float]
    frame_accuracy: Mapping[str, float]
    key: str
    """Digest of the clips, labels, settings and seed it was trained with."""
    settings: Settings
    seed: int

    name = "sequence"
    # The published judges are larger and their weights are not to be had.
    substitute = True

    @property
    def version(self) -> str:
        """What it was trained with, in short."""
        return self.key[:16]

    @classmethod
    def fit(
        cls,
        clips: Array,
        labels: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        names: Mapping[str, tuple[str, ...]] | None = None,
        frame_labels: tuple[str, ...] = (),
        seed: int = 0,
        device: str = "cpu",
        settings: Settings | None = None,
    ) -> SequenceJudge:
        """Train a judge; the same arguments give the same judge on the same machine.

        clips: (N, V, C, H, W) in [-1, 1] or (N, V, F), padding is not looked at. labels: by factor (N,), or (N, V)
        that are constant over a clip; -1 is unknown. names: names of the classes, for classes that no clip shows
        too. frame_labels: factors to be read of single frames as well.
        Source: the judges of DBSE, SPYL and MSD (Adam, one softmax head a factor). Differs: see ``SequenceNetwork`` and
        ``Settings``; it stops early by clips held out of the training.
        Raises: InputError for labels that change within a clip, have one class only, or do not fit the clips; for
        frames of less than 8 pixels a side; for values that are not finite.
        """
        return cls.learn(Examples.of(clips, labels, lengths, names, frame_labels), seed, device, settings)

    @classmethod
    def learn(
        cls, examples: Examples, seed: int, device: str = "cpu", settings: Settings | None = None
    ) -> SequenceJudge:
        """Train a judge on examples that were checked before (see ``fit``)."""
        settings = settings or Settings()
        form = Form(
            frame=examples.clips.shape[2:],
            classes={name: len(classes) for name, classes in examples.factors.items()},
            frame_labels=examples.frame_labels,
            channels=settings.channels,
            features=settings.features,
            hidden=settings.hidden,
        )
        fit, held = _parted(examples, settings.held_out, seed)
        # Whoever else draws from torch's generator is not disturbed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SequenceNetwork(form)
            for moment, value in zip((network.mean, network.std), _moments(fit), strict=True):
                moment.copy_(value.view_as(moment))
            train(network.to(device), fit, held, settings)
        judge = cls(network, form, examples.factors, {}, {}, examples.key(seed, settings), settings, seed)
        whole, single = judge._read(held.x.numpy(), held.lengths.numpy())
        truth = {name: y.numpy() for name, y in held.labels.items()}
        frames = held.x.shape[1]
        return replace(
            judge,
            accuracy={name: share(whole[name], truth[name]) for name in whole},
            frame_accuracy={n: share(single[n], np.repeat(truth[n][:, None], frames, axis=1)) for n in single},
        )

    def read(self, clips: Array, lengths: Array | None = None) -> dict[str, Floats]:
        """Return for each factor probabilities (N, classes) of clips (N, V, ...).

        Raises: InputError for frames of another shape than it was trained on, or values that are not finite.
        """
        return self._read(clips, lengths)[0]

    def read_frames(self, clips: Array, lengths: Array | None = None) -> dict[str, Floats]:
        """Return for each of ``frame_labels`` probabilities (N, V, classes), NaN in the padding.

        Raises: as ``read``; InputError if it was trained to read no frames.
        """
        if not self.form.frame_labels:
            raise InputError("reader: got a question about single frames, expected to be trained with frame_labels")
        return self._read(clips, lengths)[1]

    def describe(self, clips: Array, lengths: Array | None = None) -> Floats:
        """Return what its heads see of each clip (N, E), for distances between sets of clips.

        Raises: as ``read``.
        """
        clips, count = self._checked(clips, lengths)
        with torch.no_grad():
            parts = [self.network.encode(x, n)[0].double().cpu().numpy() for x, n in self._batches(clips, count)]
        return np.concatenate(parts)

    def check(self, labels: Mapping[str, Array]) -> None:
        """Raise InputError for labels that it cannot read: another factor, or a class it does not have."""
        for name, label in labels.items():
            if name not in self.factors:
                raise InputError(f"reader: got the label {name!r}, expected one of {', '.join(self.factors)}")
            highest = int(np.asarray(label).max(initial=UNKNOWN))
            if highest >= len(self.factors[name]):
                raise InputError(
                    f"reader, {name}: got class {highest}, expected at most {len(self.factors[name]) - 1}: it was "
                    "trained on other classes"
                )

    def _checked(self, clips: Array, lengths: Array | None) -> tuple[Array, Array]:
        clips = np.asarray(clips)
        if clips.shape[2:] != self.form.frame:
            raise InputError(
                f"reader: got clips {clips.shape}, expected frames of shape {self.form.frame}, as it was trained on"
            )
        return checked(clips, lengths)

    def _batches(self, clips: Array, count: Array) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.network.mean.device
        for start in range(0, len(clips), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            yield torch.from_numpy(clips[rows]).to(device), torch.from_numpy(count[rows]).to(device)

    @torch.no_grad()
    def _read(self, clips: Array, lengths: Array | None) -> tuple[dict[str, Floats], dict[str, Floats]]:
        clips, count = self._checked(clips, lengths)
        whole: dict[str, list[Floats]] = {name: [] for name in self.form.classes}
        single: dict[str, list[Floats]] = {name: [] for name in self.form.frame_labels}
        for x, n in self._batches(clips, count):
            of_clips, of_frames = self.network(x, n)
            for said, held in ((of_clips, whole), (of_frames, single)):
                for name, logits in said.items():
                    held[name].append(logits.double().softmax(-1).cpu().numpy())
        return (
            {name: np.concatenate(parts) for name, parts in whole.items()},
            {name: by_clip(np.concatenate(parts), count, *clips.shape[:2]) for name, parts in single.items()},
        )


def _parted(examples: Examples, held_out: float, seed: int) -> tuple[Batchable, Batchable]:
    """Return what is learned from, and what is kept aside."""
    clips = len(examples.clips)
    aside = max(1, round(held_out * clips))
    if clips - aside < 2:
        raise InputError(f"reader: got {clips} clips, expected three at least: two to learn from and one aside")
    order = np.random.default_rng(seed).permutation(clips)
    whole = Batchable(
        torch.from_numpy(examples.clips),
        torch.from_numpy(examples.lengths),
        {name: torch.from_numpy(y) for name, y in examples.labels.items()},
    )
    return whole.rows(torch.from_numpy(np.sort(order[aside:]))), whole.rows(torch.from_numpy(np.sort(order[:aside])))


def _moments(given: Batchable) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, or number of a vector, over valid frames."""
    valid = torch.arange(given.x.shape[1])[None] < given.lengths[:, None]
    frames = given.x[valid].double()  # (M, C, H, W) or (M, F)
    over = (0, 2, 3) if frames.ndim == 4 else (0,)
    std = frames.std(dim=over, correction=0)
    # What never changes says nothing; it must not be blown up either.
    return frames.mean(dim=over).float(), torch.where(std > 1e-6, std, torch.ones_like(std)).float()
