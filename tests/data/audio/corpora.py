"""Miniature speech corpora, in each set's own format: SPHERE with phones, FLAC with transcripts."""

import numpy as np
import soundfile

SPHERE = """NIST_1A
   1024
database_id -s5 TIMIT
database_version -s3 1.0
channel_count -i 1
sample_count -i {count}
sample_rate -i {rate}
sample_n_bytes -i 2
sample_byte_format -s2 01
sample_sig_bits -i 16
end_head
"""


def voice(seconds, seed, rate=16_000):
    """Return something that sounds like nobody: a tone that the seed sets, and noise, int16."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(size=len(t))
    return (8000 * np.sin(2 * np.pi * (150 + 40 * (seed % 50)) * t) + 800 * noise).astype(np.int16)


def sphere(path, samples, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        SPHERE.format(count=len(samples), rate=rate).encode().ljust(1024) + samples.astype("<i2").tobytes()
    )


def phones(path, count):
    """Write silence, then aa and s by turns of 1,600 samples, then silence."""
    names = ["h#", *(["aa", "s"] * (count // 3200))]
    lines = [f"{i * 1600} {(i + 1) * 1600} {name}" for i, name in enumerate(names)]
    path.write_text("\n".join([*lines, f"{len(names) * 1600} {count} h#"]) + "\n")


def timit(root, people, seconds=1.9, *, lower=False, kind="sphere", names=("SA1", "SI10", "SX37")):
    """Write a corpus; people as (TRAIN or TEST, dialect, speaker)."""
    for number, (half, dialect, speaker) in enumerate(people):
        folder = root / half / f"DR{dialect}" / speaker
        for i, name in enumerate(names):
            samples = voice(seconds, 10 * number + i)
            path = folder / f"{name}.WAV"
            if kind == "sphere":
                sphere(path, samples)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, 16_000, subtype="PCM_16", format="WAV")
            phones(folder / f"{name}.PHN", len(samples))
    if lower:
        for path in sorted(root.rglob("*"), key=lambda p: -len(p.parts)):
            path.rename(path.with_name(path.name.lower()))
    return root


def librispeech(root, parts, seconds=1.9, utterances=2):
    """Write a corpus; parts as folder -> speakers, each with one chapter."""
    for folder, speakers in parts.items():
        for speaker in speakers:
            chapter = root / folder / str(speaker) / str(speaker * 10)
            chapter.mkdir(parents=True, exist_ok=True)
            lines = []
            for i in range(utterances):
                key = f"{speaker}-{speaker * 10}-{i:04d}"
                soundfile.write(chapter / f"{key}.flac", voice(seconds + i, speaker + i), 16_000, subtype="PCM_16")
                lines.append(f"{key} SOME WORDS")
            (chapter / f"{speaker}-{speaker * 10}.trans.txt").write_text("\n".join(lines) + "\n")
    table = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    table += [f"{s:<4} | {'FM'[s % 2]} | {f:<16} | 25.03 | Some Body" for f, people in parts.items() for s in people]
    (root / "SPEAKERS.TXT").write_text("\n".join(table) + "\n")
    return root
