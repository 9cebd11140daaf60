"""Build japanese_vowels.npz from the two .ts files of the data set.

    python -m diffsda.data.embedded.build_japanese_vowels TRAIN.ts TEST.ts OUT.npz

The files used are JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts of the Python package sktime 1.2.0, in
sktime/datasets/data/JapaneseVowels/. The same files give the same bytes (with the same zlib; another one may
pack otherwise, the arrays are equal).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.data.check import Array
from diffsda.errors import InputError


def read_ts(path: Path) -> tuple[list[Array], list[int]]:
    """Read utterances (T, 12) and speakers 0..8 from a .ts file.

    After the line @data each line is one utterance: colons part the coefficients, commas the values of one
    over time, and the last field is the speaker, 1..9.
    Raises: InputError if an utterance does not have 12 series of one length.
    """
    utterances, speakers = [], []
    _, _, body = path.read_text(encoding="utf-8").partition("@data\n")
    for number, line in enumerate(filter(None, body.splitlines()), 1):
        *rows, speaker = line.split(":")
        columns = [[float(value) for value in row.split(",")] for row in rows]
        if len(columns) != 12 or len({len(column) for column in columns}) != 1:
            raise InputError(f"{path}: utterance {number} is not 12 series of one length")
        utterances.append(np.array(columns, np.float32).T)
        speakers.append(int(speaker) - 1)
    if not utterances:
        raise InputError(f"{path}: no utterances found, expected a .ts file with a line @data")
    return utterances, speakers


def build(train: Path, test: Path, out: Path) -> None:
    """Write all utterances one after the other: x (sum T, 12), lengths, speaker, split (0 train, 1 test)."""
    parts = [read_ts(train), read_ts(test)]
    utterances = [u for part, _ in parts for u in part]
    x = np.concatenate(utterances)
    lengths = np.array([len(u) for u in utterances], np.uint8)
    speaker = np.array([s for _, part in parts for s in part], np.uint8)
    split = np.repeat(np.arange(2, dtype=np.uint8), [len(part) for part, _ in parts])
    atomic_write(out, lambda file: np.savez_compressed(file, x=x, lengths=lengths, speaker=speaker, split=split))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(f"got {len(sys.argv) - 1} arguments, expected TRAIN.ts TEST.ts OUT.npz")
    build(*map(Path, sys.argv[1:]))
