"""Which labels of a set are static and which are dynamic."""

from __future__ import annotations

from diffsda.errors import InputError

ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sprites": (("sex", "head", "chest", "legs"), ("action", "direction")),
    "mug": (("subject",), ("emotion",)),
    "japanese_vowels": (("speaker",), ()),
    "speech": (("speaker",), ()),
    "timit": (("speaker",), ()),
    "librispeech": (("speaker",), ()),
    "moving_shapes": (("shape", "colour", "size"), ("path",)),
    "tones": (("timbre", "pitch"), ("note",)),
    "series": (("level", "frequency"), ("phase", "drift")),
    "physionet": (("icu_type",), ()),
    "airq": (("month",), ()),
    "etth1": (("month",), ()),
}
"""Set by name: its static labels, its dynamic ones."""


def roles(
    name: str, labels: tuple[str, ...], static: tuple[str, ...] | None = None, dynamic: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return static and dynamic labels: as given, or what is known of the set, as far as the clips have them.

    Raises: InputError for a label that the clips do not have, or one that is given both roles.
    """
    known = ROLES.get(name, ((), ()))
    out = []
    for given, held in ((static, known[0]), (dynamic, known[1])):
        for one in given or ():
            if one not in labels:
                raise InputError(f"label: got {one!r}, expected one of {', '.join(labels) or 'none: no labels here'}")
        out.append(tuple(one for one in held if one in labels) if given is None else given)
    if both := set(out[0]) & set(out[1]):
        raise InputError(f"label: got {min(both)!r} as static and as dynamic, expected one of them")
    return out[0], out[1]
