"""Judges that count how often they are asked, and clips whose labels can be seen."""

import numpy as np


class Points:
    """One key point: the brightest pixel; nothing is found in a black frame."""

    name, version, substitute = "points", "1", True

    def __init__(self):
        self.seen = 0

    def locate(self, frames):
        self.seen += len(frames)
        flat = frames.astype(float).sum(-1).reshape(len(frames), -1)
        where = flat.argmax(1)
        points = np.stack([where % frames.shape[2], where // frames.shape[2]], 1)[:, None].astype(float)
        points[flat.max(1) == 0] = np.nan
        return points


class Colours:
    """A frame's mean colour."""

    name, version, substitute, threshold = "colours", "1", False, 10.0

    def __init__(self):
        self.seen = 0

    def embed(self, frames):
        self.seen += len(frames)
        return frames.mean(axis=(1, 2))


class Pitches:
    """How often a wave crosses zero in a second."""

    name, version, substitute = "pitches", "1", False

    def __init__(self):
        self.seen = 0

    def embed(self, waves, rate):
        self.seen += len(waves)
        return np.array([[np.mean(np.diff(np.sign(w)) != 0) * rate, 1.0] for w in waves])


class Loudness:
    """Two scales of speech."""

    name, version, substitute, scales = "loudness", "1", False, ("peak", "mean")

    def __init__(self):
        self.seen = 0

    def rate(self, waves, rate):
        self.seen += len(waves)
        return {"mean": np.array([np.abs(w).mean() for w in waves]), "peak": np.array([np.abs(w).max() for w in waves])}


class Sums:
    """A clip's sum."""

    name, version, substitute = "sums", "1", True

    def __init__(self):
        self.seen = 0

    def describe(self, clips):
        self.seen += len(clips)
        return clips.reshape(len(clips), -1).sum(1, keepdims=True)


def frames(count=4, seed=0):
    """Return frames (count, 8, 10, 3), each with one white pixel."""
    draw = np.random.default_rng(seed)
    out = np.zeros((count, 8, 10, 3), np.uint8)
    out[np.arange(count), draw.integers(0, 8, count), draw.integers(0, 10, count)] = 255
    return out


def squares(count, seed=0, size=12, length=4):
    """Return clips (count, length, 3, size, size) of a coloured square that moves, and labels colour and way.

    colour: red, green or blue, the same in all frames; way: down or right, to be seen from several frames only.
    """
    draw = np.random.default_rng(seed)
    colour, way = draw.permutation(np.arange(count) % 3), draw.permutation(np.arange(count) % 2)
    clips = np.full((count, length, 3, size, size), -1.0, np.float32)
    for i in range(count):
        top, left = draw.integers(0, size - 2 * length, 2)
        for v in range(length):
            y, x = (top + 2 * v, left) if way[i] == 0 else (top, left + 2 * v)
            clips[i, v, colour[i], y : y + 3, x : x + 3] = 1.0
    return clips + draw.normal(0, 0.05, clips.shape).astype(np.float32), {"colour": colour, "way": way}
