"""Files dealt to train, val and test: the same seed deals the same, and equal files stay together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import groupby

from diffsda.errors import InputError


def deal(digests: Mapping[str, str], val_share: float, test_share: float, seed: int) -> dict[str, str]:
    """Return the split of every key.

    digests: of the files' content, by key. Files with the same content go to the same split, and a file that is added
    later moves others only where a split's border is.
    Raises: InputError if the shares leave nothing to train on.
    """
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise InputError(f"{name}: got {share}, expected a part of the files from 0 to below 1")
    if val_share + test_share >= 1:
        raise InputError(f"shares: got {val_share} and {test_share}, expected a sum below 1: the rest is trained on")
    order = sorted(digests, key=lambda key: (_rank(digests[key], seed), key))
    groups = [list(keys) for _, keys in groupby(order, key=digests.__getitem__)]
    dealt: dict[str, str] = {}
    # Training first, so that a handful of files is not all held out.
    held = _dealt(groups[1:], {"test": test_share, "val": val_share}, len(digests))
    for key in order:
        dealt[key] = held.get(key, "train")
    return dealt


def _dealt(groups: Sequence[Sequence[str]], shares: Mapping[str, float], total: int) -> dict[str, str]:
    waiting = list(groups)
    dealt: dict[str, str] = {}
    for split, share in shares.items():
        wanted = max(1, round(share * total)) if share else 0
        taken = 0
        while waiting and taken < wanted:
            keys = waiting.pop(0)
            dealt.update(dict.fromkeys(keys, split))
            taken += len(keys)
    return dealt


def _rank(digest: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {digest}".encode()).hexdigest()
