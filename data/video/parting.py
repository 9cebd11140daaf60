"""Which clips of a published set are for training and which for testing, where its folders do not say."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from diffsda.data.problems import Problems
from diffsda.data.video.plain_pickle import read_names

Thing = TypeVar("Thing", bound=Hashable)


def at_random(things: Sequence[Thing], share: float, seed: int) -> dict[Thing, str]:
    """Part things into train and test, exactly as scikit-learn's ``train_test_split`` does for a seed.

    share: of the test part. The outcome depends on the order of the things. A single one is for training.
    """
    from sklearn.model_selection import train_test_split

    if len(things) < 2:
        return dict.fromkeys(things, "train")
    train, test = train_test_split(list(things), test_size=share, random_state=seed)
    return dict.fromkeys(train, "train") | dict.fromkeys(test, "test")


def within_groups(groups: Sequence[Hashable], share: float, seed: int) -> list[str]:
    """Part things into train and test so that each group has its share (rounded, at least one of two) in both."""
    held = np.array(["train"] * len(groups), object)
    numbers: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        numbers.setdefault(group, []).append(number)
    draw = np.random.default_rng(seed)
    for members in numbers.values():
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held[draw.permutation(members)[:count]] = "test"
    return held.tolist()


def by_lists(names: Sequence[str], train: Path, test: Path, problems: Problems) -> dict[str, str]:
    """Part names by two pickled lists of them; names in neither are left out.

    A name that is in both lists (it stays in train) or has no clip is a problem.
    Raises: InputError if a list cannot be read.
    """
    lists = {"train": (train, read_names(train)), "test": (test, read_names(test))}
    split: dict[str, str] = {}
    there = set(names)
    for part, (path, held) in lists.items():
        lost = [name for name in held if name not in there]
        if lost:
            problems.add(path, f"{len(lost)} of its {len(held)} names have no clip, the first: {lost[0]!r}")
        for name in held:
            if split.setdefault(name, part) != part:
                problems.add(path, f"{name!r} is also in {lists['train'][0].name}; it stays in train")
    return {name: split[name] for name in names if name in split}
