"""Tones: log spectrograms of made-up voices that sing short melodies."""

from __future__ import annotations

import numpy as np

from diffsda.data.check import Array
from diffsda.data.clip import Clips
from diffsda.data.synthetic.items import check_whole, generators, pair_factors

TIMBRES = {
    "ah": ((730, 1.0), (1090, 0.6), (2440, 0.2)),
    "ee": ((270, 1.0), (2290, 0.5), (3010, 0.3)),
    "oo": ((300, 1.0), (870, 0.4), (2240, 0.1)),
    "ae": ((660, 0.9), (1720, 0.7), (2410, 0.4)),
}
"""Peaks of the spectral envelope: (frequency in Hz, height). Average formants of these vowels."""
PITCHES = {"low": 0.0, "middle": 7.0, "high": 14.0}
"""Where a voice's melodies start, in semitones above 100 Hz; a voice is up to a semitone off."""
SCALE = (0, 2, 4, 7, 9)
"""The notes, in semitones above the voice's own pitch."""
LOWEST, HIGHEST = 80.0, 4000.0
FLOOR = 1e-4

_PARTIALS = 40
_PEAK_WIDTH = 120.0
_LINE_WIDTH = 0.7


def tones(n: int, frames: int = 32, bins: int = 40, seed: int = 0) -> Clips:
    """Make n log spectrograms of a voice that sings.

    Shapes: x (n, frames, bins), log10 of the energy (floor -4) in bins evenly spaced in mel, 80 to 4000 Hz.
    Static labels (n,): timbre, pitch. Dynamic label (n, frames): note.
    factors: static (n, 2), timbre's index and the voice's pitch in semitones above 100 Hz; dynamic
    (n, frames, 2), semitones above the voice's pitch (gliding from note to note) and log10 of the loudness.
    Raises: InputError if an argument is too small.
    """
    check_whole("frames", frames, 2)
    check_whole("bins", bins, 8)
    static, dynamic, kept, notes = [], [], [], []
    for draw in generators(n, seed):
        timbre, pitch = draw.integers(len(TIMBRES)), draw.integers(len(PITCHES))
        kept.append((timbre, pitch))
        static.append((timbre, list(PITCHES.values())[pitch] + draw.uniform(-1, 1)))
        note, melody = _melody(draw, frames)
        notes.append(note)
        dynamic.append(melody)
    factors = {"static": np.array(static, np.float64), "dynamic": np.array(dynamic)}
    label = np.array(kept)
    return Clips(
        x=render(factors["static"], factors["dynamic"], bins),
        labels={"timbre": label[:, 0], "pitch": label[:, 1], "note": np.array(notes)},
        label_names={
            "timbre": tuple(TIMBRES),
            "pitch": tuple(PITCHES),
            "note": tuple(f"+{s}" for s in SCALE),
        },
        factors=factors,
        name="tones",
        source=f"made: tones, seed {seed}",
    )


def render(static: Array, dynamic: Array, bins: int = 40) -> Array:
    """Return log spectrograms (N, V, bins), float32, of voices static (N, 2) singing dynamic (N, V, 2).

    Every partial of the note is a line of its envelope's height, blurred over neighbouring bins.
    """
    x = np.empty((*dynamic.shape[:2], bins), np.float32)
    shapes = list(TIMBRES.values())
    for item, (timbre, pitch) in enumerate(static):
        base = 100.0 * 2 ** ((pitch + dynamic[item, :, 0]) / 12)  # (V,)
        partial = base[:, None] * np.arange(1, _PARTIALS + 1)  # (V, P)
        height = 0.02 * 100.0 / partial
        for peak, weight in shapes[int(timbre)]:
            height = height + weight * np.exp(-0.5 * ((partial - peak) / _PEAK_WIDTH) ** 2)
        height = height * 10 ** dynamic[item, :, 1, None]
        apart = (np.arange(bins) - _place(partial, bins)[..., None]) / _LINE_WIDTH  # (V, P, bins)
        energy = (height[..., None] ** 2 * np.exp(-0.5 * apart**2)).sum(1)
        x[item] = np.log10(energy + FLOOR)
    return x


def swap_target(a: Clips, b: Clips) -> Array:
    """Return x of a's voice with b's melody: what a perfect swap gives. Raises: InputError."""
    static, dynamic = pair_factors(a, b, "tones")
    return render(static, dynamic, bins=a.x.shape[-1])


def _place(frequency: Array, bins: int) -> Array:
    """Return where on the axis of bins (0 .. bins - 1) a frequency lies: evenly in mel."""
    low, mel, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST, frequency, HIGHEST))
    return (mel - low) / (high - low) * (bins - 1)


def _melody(draw: np.random.Generator, frames: int) -> tuple[Array, Array]:
    """Draw the notes (frames,) and what is heard of them (frames, 2): gliding pitch, fading loudness."""
    notes, age = np.empty(frames, np.int64), np.empty(frames)
    start, note = 0, int(draw.integers(len(SCALE)))
    while start < frames:
        end = min(start + int(draw.integers(3, 9)), frames)
        notes[start:end], age[start:end] = note, np.arange(end - start)
        # Any note but the one before, so that every onset is a change.
        start, note = end, (note + int(draw.integers(1, len(SCALE)))) % len(SCALE)
    target = np.array(SCALE, np.float64)[notes]
    heard = target.copy()
    for frame in range(1, frames):
        heard[frame] = heard[frame - 1] + 0.7 * (target[frame] - heard[frame - 1])
    return notes, np.stack([heard, -0.08 * age], 1)
