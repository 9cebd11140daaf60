"""Verification trials of the spoken prompts: pairs of utterances, same speaker or not, language and studio alike."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.data.check import Array
from diffsda.errors import InputError

NAME = "trials.json"
FORMAT = 1
PAIRS = {
    "fillets_cs": (("cs_small_fish", "cs_big_fish"), "one language, one production"),
    "fillets_nl": (("nl_small_fish", "nl_big_fish"), "one language, one production"),
    "asterisk_it": (("it_carlo", "it_menardi"), "one language, two packages, hence two studios"),
}
"""Two voices each that share their language, and what else they share. All pairs are of a woman and a man."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Pairs of utterances of two voices, all with different prompts.

    Shapes: first, second (P,) int64, values of the label ``utterance``; same (P,) bool, true for one speaker.
    """

    name: str
    shared: str
    first: Array
    second: Array
    same: Array

    def scores(self, embeddings: Any, utterance: Any) -> Array:
        """Return the cosine of every pair (P,) float64, as ``diffsda.evaluate.eer.equal_error_rate`` takes it.

        Shapes: embeddings (N, ...) of clips, flattened; utterance (N,), the label of the same name. An utterance's
        embedding is the mean over its clips; the mean over this list's utterances is then taken off.
        Raises: InputError if shapes do not fit or a clip of an utterance is missing altogether.
        """
        x, of = np.asarray(embeddings, np.float64), np.asarray(utterance)
        if x.ndim < 2 or of.shape != (len(x),):
            raise InputError(f"trials: got embeddings {x.shape}, utterance {of.shape}; expected (N, ...) and (N,)")
        used, places = np.unique(np.stack([self.first, self.second]), return_inverse=True)
        if len(missing := np.setdiff1d(used, of)):
            raise InputError(
                f"trials: got no clip of utterance {missing[0]} ({len(missing)} missing), expected those of the part "
                f"that {NAME} was made for"
            )
        x = x.reshape(len(x), -1)
        means = np.stack([x[of == one].mean(0) for one in used])
        means -= means.mean(0)
        length = np.linalg.norm(means, axis=1, keepdims=True)
        unit = means / np.where(length > 0, length, 1)
        one, other = places.reshape(2, -1)
        cosines: Array = np.einsum("pf,pf->p", unit[one], unit[other])
        return cosines


def make(labels: Mapping[str, Array], voices: tuple[str, ...]) -> list[Trials]:
    """Return all pairs of utterances of each of ``PAIRS``; of a pair without both its voices, none.

    labels: voice, prompt, utterance (N,) of the clips of a part, voice a place in ``voices``.
    """
    utterance, at = np.unique(labels["utterance"], return_index=True)
    voice, prompt = labels["voice"][at], labels["prompt"][at]
    out = []
    for name, (pair, shared) in PAIRS.items():
        codes = [code for code, one in enumerate(voices) if one in pair]
        ours = np.flatnonzero(np.isin(voice, codes))
        if len(np.unique(voice[ours])) < len(pair):
            continue
        i, j = (ours[side] for side in np.triu_indices(len(ours), 1))
        other_words = prompt[i] != prompt[j]
        i, j = i[other_words], j[other_words]
        out.append(Trials(name, shared, utterance[i], utterance[j], voice[i] == voice[j]))
    return out


def write(folder: str | os.PathLike[str], trials: list[Trials], part: str = "test") -> Path:
    """Write the trials as FOLDER/trials.json; see ``read`` for its form."""
    sets = [
        {
            "name": one.name,
            "voices": PAIRS[one.name][0],
            "shared": one.shared,
            "first": one.first.tolist(),
            "second": one.second.tolist(),
            "same": one.same.astype(int).tolist(),
        }
        for one in trials
    ]
    plain = {"format": FORMAT, "split": part, "label": "utterance", "sets": sets}
    text = json.dumps(plain, separators=(",", ":")) + "\n"
    path = Path(folder) / NAME
    atomic_write(path, lambda file: file.write(text.encode()))
    return path


def read(folder: str | os.PathLike[str]) -> dict[str, Trials]:
    """Read FOLDER/trials.json; return its lists by name.

    The file is one JSON object: ``format`` 1; ``split``, the part whose clips are meant; ``label``, the label whose
    values name utterances; ``sets``, objects with ``name``, ``voices`` (two), ``shared`` (what the voices have in
    common) and three lists of one length: ``first`` and ``second``, utterances, and ``same``, 1 for one speaker or 0.
    Raises: InputError, one line, if it is missing or not of that form.
    """
    path = Path(folder) / NAME
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected what `diffsda prepare speech` writes") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); prepare the set again") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT or not isinstance(plain.get("sets"), list):
        raise InputError(f"{path}: is no list of trials of format {FORMAT}; prepare the set again")
    held = [_trials(one, path) for one in plain["sets"]]
    return {one.name: one for one in held}


def _trials(plain: Any, path: Path) -> Trials:
    try:
        name, shared = plain["name"], plain["shared"]
        columns = [_whole(plain[column]) for column in ("first", "second", "same")]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: a list of trials is not usable ({error!r}); prepare the set again") from None
    first, second, same = columns
    if not len(first) == len(second) == len(same) or not np.isin(same, (0, 1)).all():
        raise InputError(
            f"{path}: {name}: got {len(first)}, {len(second)} and {len(same)} values, expected first, second and same, "
            "of 0 and 1, of one length; prepare the set again"
        )
    return Trials(str(name), str(shared), first, second, same.astype(bool))


def _whole(values: Any) -> Array:
    held = np.asarray(values)
    if held.ndim != 1 or held.dtype.kind not in "iu":
        raise ValueError(f"got {held.dtype} of shape {held.shape}, expected one whole number at least, in a list")
    return held.astype(np.int64)
