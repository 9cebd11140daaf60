"""Tiny videos of many kinds, made once a session with real codecs."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from diffsda.data.prepared import Dataset
from diffsda.data.video.entry import Entry, write_entries

FRAMES, HEIGHT, WIDTH = 24, 72, 96


def smooth(frames=FRAMES, height=HEIGHT, width=WIDTH):
    """Return frames (V, H, W, 3) whose red runs along x, whose green runs along y, and whose blue counts frames."""
    y, x = np.mgrid[0:height, 0:width]
    made = [
        np.stack(
            [
                127 + 90 * np.sin(2 * np.pi * (0.6 * x / width + i / frames)),
                127 + 90 * np.cos(2 * np.pi * (0.6 * y / height + i / frames)),
                np.full((height, width), 255 * i / max(frames - 1, 1)),
            ],
            -1,
        )
        for i in range(frames)
    ]
    return np.array(made).round().astype(np.uint8)


def moving(frames, side=64):
    """Return frames (V, side, side, 3) whose red and green move along, full of detail, and whose blue counts frames."""
    wide = np.random.default_rng(1).integers(0, 255, (side, 3 * side, 3), np.uint8)
    made = np.stack([np.roll(wide, -2 * i, 1)[:, :side] for i in range(frames)])
    made[..., 2] = np.linspace(0, 255, frames).round()[:, None, None]
    return made


def write(path, frames, codec, *, pixels="yuv420p", options=None, times=None, sound=False, turn=0, space=None):
    """Encode frames; ``times`` in milliseconds, ``sound`` beside the pictures, ``space``: the colours' matrix."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if space is not None:
                frame = frame.reformat(format=pixels, src_colorspace=space, dst_colorspace=space)
                frame.colorspace = stream.codec_context.colorspace = space
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            _add_sound(av, container, audio)
    return Path(path)


def _add_sound(av, container, stream):
    tone = np.sin(np.arange(8000) / 5).astype(np.float32)
    for at in range(0, 8000 - 1024, 1024):
        frame = av.AudioFrame.from_ndarray(tone[None, at : at + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, at
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


VP9 = {"crf": "12", "b": "0", "g": "8"}
KINDS = {
    "vp9.mp4": ("libvpx-vp9", {"options": VP9}),
    "vp9.webm": ("libvpx-vp9", {"options": VP9}),
    "one_group.mp4": ("libvpx-vp9", {"options": {**VP9, "g": "100"}}),
    "uneven.mp4": ("libvpx-vp9", {"options": VP9, "times": [40 * i + 7 * (i % 5) + 300 * (i // 7) for i in range(24)]}),
    "mjpeg.avi": ("mjpeg", {"pixels": "yuvj420p"}),
    "mjpeg.mp4": ("mjpeg", {"pixels": "yuvj420p"}),
    "h264.mp4": ("libx264", {"options": {"crf": "12", "g": "9", "bf": "2"}}),
    "open.mp4": (
        "libx264",
        {"options": {"crf": "12", "g": "8", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal"}},
    ),
    "sound.mp4": ("libx264", {"options": {"crf": "12", "g": "9"}, "sound": True}),
    "mpeg4.avi": ("mpeg4", {"options": {"g": "6", "b": "8M"}}),
    "mpeg2.mpg": ("mpeg2video", {"options": {"b": "8M"}}),
}
X264 = {"crf": "18", "preset": "veryfast", "g": "24"}
X265 = {"preset": "ultrafast", "g": "12"}
REORDERED = {
    "b.avi": ("libx264", {"options": X264 | {"x264-params": "bframes=1:b-adapt=0"}}),
    "open.mp4": ("libx264", {"options": X264 | {"x264-params": "open-gop=1:bframes=3:scenecut=0"}}),
    "refresh.mp4": (
        "libx264",
        {"options": {"crf": "12", "g": "12", "x264-params": "intra-refresh=1:bframes=0:scenecut=0"}},
    ),
    "refresh.ts": (
        "libx264",
        {"options": {"crf": "12", "g": "12", "x264-params": "intra-refresh=1:bframes=0:scenecut=0"}},
    ),
    "hevc.mp4": ("libx265", {"options": X265 | {"x265-params": "open-gop=1:bframes=3:log-level=none"}}),
    "hevc.mkv": ("libx265", {"options": X265 | {"x265-params": "open-gop=0:bframes=3:log-level=none"}}),
    "mpeg4.mp4": ("mpeg4", {"options": {"g": "24", "bf": "2"}}),
    "mpeg4.mkv": ("mpeg4", {"options": {"g": "24", "bf": "2"}}),
    "mpeg4.ts": ("mpeg4", {"options": {"g": "12", "bf": "2", "sc_threshold": "1000000000"}}),
}
"""Films whose key packets or times mislead: B-frames, open groups, no whole picture after the first."""
DALI_READS = ("vp9.mp4", "vp9.webm", "one_group.mp4", "uneven.mp4", "mjpeg.avi", "mjpeg.mp4")


@dataclass(frozen=True)
class Films:
    """The videos of a session, and how to make more."""

    folder: Path
    write = staticmethod(write)
    smooth = staticmethod(smooth)
    kinds = tuple(KINDS)
    dali_reads = DALI_READS
    frames = FRAMES

    def __getitem__(self, name):
        return self.folder / name

    def entry(self, name, **changes):
        """Return an index entry of a file, by its name here or by its path."""
        path = name if isinstance(name, Path) else self[name]
        codec = path.name.partition(".")[0]
        codec = codec if codec in ("mjpeg", "h264", "mpeg4") else "vp9"
        about = {"frames": FRAMES, "fps": 25.0, "width": WIDTH, "height": HEIGHT, "codec": codec, "sha256": "0" * 64}
        return Entry(path=path, **about | changes)

    def prepared(self, folder, entries, split="train", **about):
        """Write a prepared folder of these entries."""
        folder.mkdir(exist_ok=True)
        write_entries(folder / f"{split}.jsonl", entries)
        held = {"kind": "video", "name": "films", "modality": "video", "frames": 8, "channels": 3, "size": 32}
        Dataset(**held | {"splits": {split: len(entries)}} | about).write(folder)
        return folder


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    pytest.importorskip("av", reason="PyAV is not installed")
    folder = tmp_path_factory.mktemp("films")
    frames = smooth()
    for name, (codec, how) in KINDS.items():
        write(folder / name, frames, codec, **how)
    return Films(folder)


@pytest.fixture(scope="session")
def reordered(tmp_path_factory):
    """Return paths by name, and the frames of each file decoded from its start to its end, (V, H, W, 3)."""
    pytest.importorskip("av", reason="PyAV is not installed")
    from diffsda.data.video import seek

    folder = tmp_path_factory.mktemp("reordered")
    made = {}
    for name, (codec, how) in REORDERED.items():
        path = write(folder / name, moving(90), codec, **how)
        made[name] = path, seek._by_count(path, range(90))
    copied = _copied_to_mp4(made["b.avi"][0])
    return made | {"copied.mp4": (copied, seek._by_count(copied, range(90)))}


def _copied_to_mp4(path):
    """Copy an AVI file packet by packet, which keeps the times that libav made up for it."""
    import av

    copied = path.with_name("copied.mp4")
    with av.open(str(path)) as source, av.open(str(copied), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return copied
