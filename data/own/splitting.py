"""Who goes where: what belongs together is never on two sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import numpy as np

from diffsda.data.own.settings import Settings
from diffsda.data.prepared import SPLITS
from diffsda.data.video.layout import SPLIT_NAMES
from diffsda.errors import InputError

OUTSIDE = "lies in none of the folders train, val and test; left out"


def split_of(path: PurePath) -> str | None:
    """Return the split that the first folder of a path, taken from the top of a set, says it is of."""
    return SPLIT_NAMES.get(path.parts[0].lower()) if len(path.parts) > 1 else None


def has_splits(paths: Sequence[PurePath]) -> bool:
    """Tell whether files lie in folders called train, val, test or the like, train at least."""
    return any(split_of(path) == "train" for path in paths)


def training_first(paths: Sequence[Path], split: Callable[[Path], str | None]) -> list[Path]:
    """Return files in the order of their splits: train, val, test, those of none last; else as they come."""
    return sorted(paths, key=lambda path: (*SPLITS, None).index(split(path)))


def check_shares(val: float, test: float) -> None:
    """Refuse shares that leave nothing to train on.

    Raises: InputError.
    """
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise InputError(f"--{name}-share: got {share}, expected a share from 0 to below 1")
    if val + test >= 1:
        raise InputError(f"--val-share, --test-share: got {val} and {test}, expected a sum below 1")


def draw(groups: Sequence[str], val: float, test: float, seed: int) -> list[str]:
    """Draw a split for each item; items of one group are in one split.

    groups: one name an item. The shares are of groups, rounded, and at least one group where a share is not 0 and
    there are enough; the train split is never empty. The same groups and seed give the same splits, whatever the order.
    """
    names = sorted(set(groups))
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    side = dict.fromkeys(order, "train")
    taken = 0
    for split, share in (("test", test), ("val", val)):
        count = min(max(round(share * len(order)), 1), len(order) - 1 - taken) if share else 0
        side.update(dict.fromkeys(order[taken : taken + count], split))
        taken += max(count, 0)
    return [side[group] for group in groups]


def in_time(items: int, val: float, test: float) -> list[str]:
    """Split the windows of one series by time: the first to train on, then those of val, the last of test."""
    sizes = {}
    left = items - 1
    for split, share in (("test", test), ("val", val)):
        sizes[split] = min(max(round(share * items), 1), left) if share else 0
        left -= sizes[split]
    return ["train"] * (left + 1) + ["val"] * sizes["val"] + ["test"] * sizes["test"]


def group_of(path: PurePath, *, below: bool) -> str:
    """Return the folder that a file lies in; below that of its split, where folders tell the splits."""
    return PurePath(*path.parts[1 if below else 0 :]).parent.as_posix()


def sides(paths: Sequence[Path], ask: Settings, outside: Callable[[Path], None]) -> dict[Path, str]:
    """Return the split of every file: what its folder says, or drawn; by folder if that is asked for.

    paths: from the top of the set. outside: told of each file that lies in no split's folder while others do; it is
    left out.
    """
    if has_splits(paths):
        for path in paths:
            if split_of(path) is None:
                outside(path)
        return {path: split for path in paths if (split := split_of(path)) is not None}
    together = [path.parent.as_posix() if ask.by == "folder" else path.as_posix() for path in paths]
    return dict(zip(paths, draw(together, ask.val_share, ask.test_share, ask.seed)))
