"""Miniature trees of the packages with speech: each package's own layout, a voice a tone of its own."""

import numpy as np
import soundfile

from diffsda.data.audio.speech_sources import DIALOGUE, PACKAGES, PROMPTS, VOICES

# Two prompts of the test part and one of val are among each; the rest is trained on.
SPOKEN = ("digits/0", "digits/1", "digits/2", "hello", "letters/b")
LINES = ("city/vit-{}-hlava", "city/vit-{}-jak", "city/vit-{}-nebo", "city/vit-{}-c", "share/border/cil-{}-hlaska1")


def sound(seed, seconds=0.9, rate=8000, pause=0.1):
    """Return a tone with overtones that the seed sets, its loudness going up and down, between two pauses."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = 110 + 23 * (seed % 10)
    tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 8))
    noise = np.random.default_rng(seed).normal(size=len(t))
    said = 0.1 * (1.2 + np.sin(2 * np.pi * (3 + seed % 4) * t)) * tone + 0.003 * noise
    rest = np.zeros(round(pause * rate))
    return np.concatenate([rest, said, rest]).astype(np.float32)


def write(path, samples, rate=8000):
    """Write WAV or Ogg Vorbis, as the name ends, making the folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


def trees(root, packages=tuple(package.name for package in PACKAGES)):
    """Write the packages' trees below a folder and return it."""
    for number, voice in enumerate(VOICES):
        if voice.package not in packages:
            continue
        tree = root / voice.package
        for line, path in enumerate(paths(tree, voice)):
            write(path, sound(10 * line + number, 0.9 + 0.3 * line, rate_of(voice)), rate_of(voice))
        if voice.package.startswith("asterisk"):
            write(tree / PROMPTS / voice.mark / "beep.wav", sound(1))
            write(tree / PROMPTS / voice.mark / "silence" / "1.wav", np.zeros(8000))
        else:
            write(tree / DIALOGUE / "city" / voice.language / "vit-hs-klid1.ogg", sound(2), 22_050)
            write(tree / DIALOGUE / "fdto" / voice.language / "nebyl-v.ogg", sound(3), 22_050)
        terms = tree / "usr/share/doc" / voice.package / "copyright"
        terms.parent.mkdir(parents=True, exist_ok=True)
        terms.write_text(f"The terms of {voice.package}\n")
    return root


def rate_of(voice):
    """Return the rate that a voice's package has."""
    return 8000 if voice.package.startswith("asterisk") else 22_050


def paths(tree, voice):
    """Return the files of a voice, as they are called in its package."""
    if voice.package.startswith("asterisk"):
        return [tree / PROMPTS / voice.mark / f"{name}.wav" for name in SPOKEN]
    lines = [line.format(voice.mark).rpartition("/") for line in LINES]
    return [tree / DIALOGUE / level / voice.language / f"{name}.ogg" for level, _, name in lines]
