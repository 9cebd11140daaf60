"""Many labels at once: do those of the factor that is kept stay, do the others go, and do they hold over frames?"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.inception import classes_in
from diffsda.evaluate.lengths import Array, Ints, mask, valid


def multifactor_swap_score(
    accuracy: Mapping[str, Mapping[str, float]], kept: Mapping[str, Collection[str]], classes: Mapping[str, int]
) -> float:
    """Return 1 - (mean |accuracy of what is kept - 1| + mean |accuracy of the others - 1 / classes|) / 2; 1 is best.

    Accuracies are of what a judge reads in clips of which one part of the code was kept and the rest replaced, by
    that of a clip drawn at random or by a sample: always against the labels of the clip whose part was kept. Both
    means are over all parts and labels at once.
    accuracy: by part, then by label, in [0, 1]. kept: by part, the labels it is to hold. classes: by label, how many.
    Source: the MSD benchmark (TwoFactorSwap and TwoFactorSample with the parts s and d; MultiFactor* with a part a
    label).
    Raises: InputError if parts or labels differ, an accuracy is not in [0, 1], a label has fewer than two classes, or
    there is nothing kept or nothing replaced.
    """
    if not accuracy or set(accuracy) != set(kept):
        raise InputError(
            f"swap score: got accuracies with {', '.join(accuracy) or 'nothing'} kept and labels of "
            f"{', '.join(kept) or 'nothing'}, expected the same parts"
        )
    for name, count in classes.items():
        if count < 2:
            raise InputError(f"swap score: got {count} classes of {name}, expected at least two")
    on, off = [], []
    for part, shares in accuracy.items():
        if set(shares) != set(classes) or not set(kept[part]) <= set(classes):
            raise InputError(
                f"swap score: got accuracies of {', '.join(shares) or 'nothing'} with {part} kept, which holds "
                f"{', '.join(kept[part]) or 'nothing'}; expected all of {', '.join(classes)}"
            )
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InputError(f"swap score: got an accuracy of {share} for {name}, expected a share from 0 to 1")
            if name in kept[part]:
                on.append(1 - share)
            else:
                off.append(abs(share - 1 / classes[name]))
    if not on or not off:
        raise InputError(
            f"swap score: got {len(on)} labels that are kept and {len(off)} that are replaced, expected some of both"
        )
    return float(1 - (np.mean(on) + np.mean(off)) / 2)


def consistency_with_label(probs: ArrayLike, labels: ArrayLike, lengths: ArrayLike | None = None) -> float:
    """Return the share of frames read as the label of their clip, in [0, 1].

    Shapes: probs (N, V, K), class k in column k, anything in padding; labels (N,), 0 to K - 1; lengths (N,).
    Source: the MSD benchmark (ConsistencySwap).
    Raises: InputError if shapes do not fit, a frame has NaN, or a label is not known.
    """
    read, kept = _frames(probs, lengths)
    wanted = classes_in(labels, (len(read), np.shape(probs)[2]), "consistency")
    return float(np.mean((read == wanted[:, None])[kept]))


def consistency_with_clip(probs: ArrayLike, lengths: ArrayLike | None = None) -> float:
    """Return the share of frames read as most frames of their clip are, in (0, 1]; of equally common the lowest class.

    Shapes: as ``consistency_with_label``.
    Source: the MSD benchmark, where its name is that of ``consistency_over_time`` and the other way round.
    Raises: InputError as ``consistency_with_label``.
    """
    read, kept = _frames(probs, lengths)
    usual = [np.bincount(clip[rows]).argmax() for clip, rows in zip(read, kept, strict=True)]
    return float(np.mean((read == np.array(usual)[:, None])[kept]))


def consistency_over_time(probs: ArrayLike, lengths: ArrayLike | None = None) -> float:
    """Return the share of neighbouring frames that are read alike, in [0, 1].

    Shapes: as ``consistency_with_label``.
    Source: the MSD benchmark, see ``consistency_with_clip``.
    Raises: InputError as ``consistency_with_label``, or if no clip has two frames.
    """
    read, kept = _frames(probs, lengths)
    both = kept[:, 1:] & kept[:, :-1]
    if not both.any():
        raise InputError("consistency: no clip has two frames, expected one that has: there are no neighbours")
    return float(np.mean((read[:, 1:] == read[:, :-1])[both]))


def _frames(probs: ArrayLike, lengths: ArrayLike | None) -> tuple[Ints, Array]:
    """Return the likeliest class of every frame (N, V), 0 in padding, and which frames count."""
    table = np.asarray(probs, np.float64)
    if table.ndim != 3 or table.shape[2] < 2:
        raise InputError(f"consistency: got probabilities {table.shape}, expected (N, V, K) of at least two classes")
    kept = mask(valid(lengths, *table.shape[:2]), table.shape[1])
    bad = int((~np.isfinite(table[kept]).all(axis=-1)).sum())
    if bad:
        raise InputError(f"consistency: {bad} of {int(kept.sum())} frames are not finite, expected probabilities")
    return np.where(kept, np.where(kept[..., None], table, 0.0).argmax(axis=-1), 0).astype(np.int64), kept
