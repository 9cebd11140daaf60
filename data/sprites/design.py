"""Which characters there are, what they do, and which of them are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from diffsda.data.check import Array
from diffsda.data.sprites.sheets import DIRECTIONS
from diffsda.errors import InputError

FRAMES = 8
"""Frames of a clip: one turn of its action."""
STATIC, DYNAMIC = ("sex", "head", "chest", "legs"), ("action", "direction")
"""Labels of what a clip keeps and of what happens in it."""
BODY = ("default_feet", "default_hands")
"""Layers that all characters have."""
HELD_OUT = 0.1
"""Part of the characters in val, and in test."""


@dataclass(frozen=True, order=True)
class Identity:
    """A character."""

    sex: str
    head: str
    chest: str
    legs: str


@dataclass(frozen=True)
class Sprite:
    """A clip: a character that does something, looking somewhere."""

    identity: Identity
    action: str
    direction: int
    """Flare's number, see ``sheets.DIRECTIONS``."""

    @property
    def key(self) -> str:
        """Name of the clip within its set."""
        return "-".join((*astuple(self.identity), self.action, DIRECTIONS[self.direction]))


@dataclass(frozen=True, kw_only=True)
class Design:
    """A full cross of parts, actions and directions."""

    name: str
    heads: Mapping[str, tuple[str, ...]]
    """By sex: hair, hoods and helmets."""
    chests: tuple[str, ...]
    legs: tuple[str, ...]
    actions: tuple[str, ...]
    directions: tuple[int, ...]

    @property
    def label_names(self) -> dict[str, tuple[str, ...]]:
        """The words for the labels' values."""
        heads = tuple(dict.fromkeys(head for heads in self.heads.values() for head in heads))
        seen = tuple(DIRECTIONS[direction] for direction in self.directions)
        return dict(
            zip(
                (*STATIC, *DYNAMIC), (tuple(self.heads), heads, self.chests, self.legs, self.actions, seen), strict=True
            )
        )

    def identities(self) -> list[Identity]:
        """Return all characters."""
        return [
            Identity(sex, head, chest, legs)
            for sex, heads in self.heads.items()
            for head in heads
            for chest in self.chests
            for legs in self.legs
        ]

    def splits(self) -> dict[str, list[Sprite]]:
        """Return the clips of train, val and test, which share no character.

        Of every head of either sex a tenth of the characters goes to val and to test; the others, and with them every
        part, are for training. Which ones depends on their names alone, so it is the same everywhere and always.
        """
        dealt: dict[str, list[Identity]] = {"train": [], "val": [], "test": []}
        for group in self._groups():
            count = round(HELD_OUT * len(group))
            shuffled = sorted(group, key=lambda identity: hashlib.sha256(repr(astuple(identity)).encode()).digest())
            parts = shuffled[2 * count :], shuffled[count : 2 * count], shuffled[:count]
            for split, part in zip(dealt.values(), parts, strict=True):
                split += sorted(part)
        return {split: [sprite for one in part for sprite in self._clips(one)] for split, part in dealt.items()}

    def labels(self, sprite: Sprite) -> dict[str, int]:
        """Return what is known of a clip."""
        who = sprite.identity
        words = (who.sex, who.head, who.chest, who.legs, sprite.action, DIRECTIONS[sprite.direction])
        return {
            name: words_of.index(word) for (name, words_of), word in zip(self.label_names.items(), words, strict=True)
        }

    def sprite(self, labels: Mapping[str, int]) -> Sprite:
        """Return the clip that labels are of.

        Raises: InputError if one is missing or has no such value.
        """
        words = []
        for name, known in self.label_names.items():
            value = int(labels.get(name, -1))
            if not 0 <= value < len(known):
                raise InputError(f"label {name}: got {labels.get(name)}, expected 0 to {len(known) - 1}")
            words.append(known[value])
        return Sprite(Identity(*words[:4]), words[4], DIRECTIONS.index(words[5]))

    def _groups(self) -> list[list[Identity]]:
        everybody = self.identities()
        kinds = dict.fromkeys((one.sex, one.head) for one in everybody)
        return [[one for one in everybody if (one.sex, one.head) == kind] for kind in kinds]

    def _clips(self, identity: Identity) -> list[Sprite]:
        return [Sprite(identity, action, direction) for action in self.actions for direction in self.directions]


COMPACT = Design(
    name="compact",
    heads={
        "male": ("head_short", "head_bald", "leather_hood", "chain_coif", "plate_helm", "mage_hood_alt1"),
        "female": ("head_long", "leather_hood", "chain_coif", "plate_helm", "mage_hood_alt1"),
    },
    chests=("cloth_shirt", "leather_chest", "chain_cuirass", "plate_cuirass", "mage_vest_alt1", "mage_vest_alt2"),
    legs=("cloth_pants", "leather_pants", "chain_greaves", "plate_greaves", "mage_skirt", "mage_skirt_alt2"),
    actions=("run", "swing", "die"),
    directions=(0, 4, 6),
)
"""396 characters, 3 actions, 3 directions: 3,564 clips. Faces are seen in all three directions."""

FULL = Design(
    name="full",
    heads={
        "male": (*COMPACT.heads["male"], "mage_hood", "mage_hood_alt2"),
        "female": (*COMPACT.heads["female"], "mage_hood", "mage_hood_alt2"),
    },
    chests=("default_chest", *COMPACT.chests, "mage_vest"),
    legs=("default_legs", *COMPACT.legs, "mage_skirt_alt1"),
    actions=("run", "swing", "shoot", "cast", "die"),
    directions=tuple(range(len(DIRECTIONS))),
)
"""960 characters, 5 actions, 8 directions: 38,400 clips."""

DESIGNS = {design.name: design for design in (COMPACT, FULL)}


def target_rows(
    labels: Mapping[str, Array], static_of: Sequence[int] | Array, dynamic_of: Sequence[int] | Array
) -> Array:
    """Return where the exact results of swaps stand in a split: rows (N,) of the clips with the static labels of the
    one and the dynamic labels of the other.

    labels: of a split, (clips,) each; as every character does everything, the result of any swap is a clip of it.
    static_of, dynamic_of: rows (N,) of the clips that lend the one and the other.
    Raises: InputError if labels are missing, or the split does not hold such a clip.
    """
    if missing := [name for name in (*STATIC, *DYNAMIC) if name not in labels]:
        raise InputError(f"labels: got no {', '.join(missing)}, expected those of sprites")
    table = np.stack([np.asarray(labels[name]) for name in (*STATIC, *DYNAMIC)], 1)
    rows = {tuple(row): number for number, row in enumerate(table.tolist())}
    cut = len(STATIC)
    wanted = np.concatenate([table[np.asarray(static_of), :cut], table[np.asarray(dynamic_of), cut:]], 1)
    found = [rows.get(tuple(row), -1) for row in wanted.tolist()]
    if -1 in found:
        raise InputError(
            f"swap {found.index(-1)}: the split holds no clip of its labels, expected whole splits of sprites"
        )
    return np.array(found, np.int64)
