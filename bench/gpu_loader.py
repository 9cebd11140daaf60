"""Clips for training on a CUDA device: out of video files, on its decoders and on the CPU, and out of cached latents.

    PYTHONPATH=. python -m diffsda.bench.gpu_loader --cases loader/vp9 --peers dali_cuda pyav [--clips FOLDER]

One process of ``diffsda.bench.gpu_network``, with its lines of JSON: who begins, rows, what broke. Who lacks something
on this host (a CUDA device, DALI, PyAV, the driver's libnvcuvid) is skipped by the name of that. The files are made
here with PyAV, or are those of a folder that ``diffsda prepare video`` left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffsda.bench.loader_cases import SETTINGS, absent, write_film
from diffsda.data.frames import FrameStore, FrameWriter
from diffsda.data.prepared import Dataset
from diffsda.data.stream import Take
from diffsda.data.video import choice
from diffsda.data.video.entry import Entry, read_entries, shortest_sides
from diffsda.data.video.pyav import PyAVLoader, cores
from diffsda.data.video.view import View
from diffsda.data.video.workers import spread

DALI_CUDA, DALI_CPU, PYAV, MAPPED = "dali_cuda", "dali_cpu", "pyav", "mapped"
PEERS = (DALI_CUDA, DALI_CPU, PYAV, MAPPED)
VIDEO_CASES = tuple(f"loader/{name}" for name in SETTINGS)
LATENTS = "loader/latents"
CASES = (*VIDEO_CASES, LATENTS)
SIDE, FILES, LENGTH, BATCH = 256, 32, 128, 16
VIEW = View(frames=10, size=SIDE, stride=2)
EATEN = 219.0
"""Clips a second that a training step at its goal eats: 16 in 73 ms."""
SECONDS, WARM = 4.0, 3
"""How long a loader is timed, after so many batches."""
Row = dict[str, Any]


def lacking(who: str, case: str, device: str, entries: Sequence[Entry] = ()) -> str | None:
    """Return what somebody cannot do here, in words; None if nothing is lacking.

    entries: the videos to be read, where these are not made here as the case has them.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "no CUDA device"
    if who == MAPPED:
        return None
    if reason := absent(PYAV):
        return f"no PyAV: {reason}"
    if who == PYAV:
        return None
    sides = shortest_sides(entries) or {SETTINGS[case.removeprefix("loader/")].codec: SIDE}
    return choice.dali_refuses(device if who == DALI_CUDA else "cpu", sides)


def write_films(folder: Path, name: str, side: int = SIDE, files: int = FILES, length: int = LENGTH) -> list[Entry]:
    """Write files of an encoding, on all cores."""
    encoding = SETTINGS[name]
    paths = [folder / f"{number}.mp4" for number in range(files)]
    calls = [(path, encoding, side, length, number) for number, path in enumerate(paths)]
    list(spread(write_film, calls, min(cores(), files)))
    about = {"fps": 25.0, "width": side, "height": side, "sha256": "", "codec": encoding.codec}
    return [Entry(path=path, frames=length, **about) for path in paths]


def reading(who: str, entries: Sequence[Entry], device: str, view: View = VIEW) -> Iterator[Any]:
    """Yield batches without end, (16, V, 3, H, W), where the loader leaves them."""
    draw = np.random.default_rng(0)
    loader: Any = PyAVLoader(view)
    if who != PYAV:
        from diffsda.data.video.dali import DaliLoader

        loader = DaliLoader(view, device if who == DALI_CUDA else "cpu")
    batches = (
        [(entries[i], view.plan(Take(i, step), entries[i].frames)) for i in draw.integers(len(entries), size=BATCH)]
        for step in count()
    )
    return loader.batches(batches)


def latents(folder: Path, clips: int = 256, frames: int = 40) -> Iterator[Any]:
    """Yield batches of cached latents without end, (16, 10, 4, 32, 32)."""
    draw = np.random.default_rng(0)
    with FrameWriter(folder / "train", (4, 32, 32), "bf16") as writer:
        for number in range(clips):
            writer.append(str(number), draw.standard_normal((frames, 4, 32, 32), np.float32))
    about: Row = {"modality": "video", "frames": 10, "channels": 4, "size": 32, "dtype": "bf16"}
    Dataset(kind="frames", name="latents", splits={"train": clips}, **about).write(folder)
    store = FrameStore(folder, "train", View(frames=10, size=32, stride=2))
    takes = ([Take(int(i), step) for i in draw.integers(clips, size=BATCH)] for step in count())
    return iter(store.batches(takes))


def rate(batches: Iterator[Any], device: str, seconds: float) -> Row:
    """Time a loader up to the device; return clips and frames a second, and the share of the decoders in use."""
    place = torch.device(device)
    for batch in islice(batches, WARM):
        clips = torch.as_tensor(batch).to(place)
    _wait(place)
    with _Decoders(place) as used:
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            clips = torch.as_tensor(next(batches)).to(place, non_blocking=True)
            done += len(clips)
        _wait(place)
        clips_per_s = done / (time.perf_counter() - began)
    row: Row = {"clips_per_s": clips_per_s, "frames_per_s": clips_per_s * clips.shape[1]}
    return row | {"times_eaten": clips_per_s / EATEN, "decoders_percent": used.percent}


def slowdown(batches: Iterator[Any], device: str, side: int = 4096, calls: int = 100) -> float:
    """Return by what share matrix products take longer while a loader works beside them."""
    place = torch.device(device)
    a = torch.randn(side, side, device=place, dtype=torch.bfloat16)

    def products() -> float:
        _wait(place)
        began = time.perf_counter()
        for _ in range(calls):
            torch.mm(a, a)
        _wait(place)
        return time.perf_counter() - began

    products()
    alone = min(products() for _ in range(3))
    over = threading.Event()

    def read() -> None:
        for _ in batches:
            if over.is_set():
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.2)
    beside = min(products() for _ in range(3))
    over.set()
    reader.join()
    return beside / alone - 1


class _Decoders:
    """How busy the GPU's video decoders are, as the driver says, while work is done; None where it says nothing."""

    def __init__(self, place: torch.device) -> None:
        self.percent: float | None = None
        self._over, self._cuda = threading.Event(), place.type == "cuda"
        self._asking = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> _Decoders:
        if self._cuda:
            self._asking.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._cuda:
            self._asking.join()

    def _ask(self) -> None:
        seen = []
        while not self._over.wait(0.3):
            command = ["nvidia-smi", "--query-gpu=utilization.decoder", "--format=csv,noheader,nounits"]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
                words = done.stdout.split()
                seen += [float(words[0])] if words and words[0].isdigit() else []
        self.percent = float(np.mean(seen)) if seen else None


def rows_of(options: argparse.Namespace, say: Callable[[Row], None]) -> Iterator[Row]:
    """Yield a row for everyone in every case: a speed, or what is lacking."""
    for case in options.cases:
        with tempfile.TemporaryDirectory(prefix="diffsda-loader-") as place:
            entries = read_entries(options.clips / "train.jsonl") if options.clips and case != LATENTS else []
            for who in options.peers or PEERS:
                if (case == LATENTS) != (who == MAPPED):
                    continue  # takes no part
                row: Row = {"case": case, "peer": who}
                if reason := lacking(who, case, options.device, entries):
                    yield row | {"skipped": reason}
                    continue
                say({"starting": who, "case": case})
                if case != LATENTS and not entries:
                    entries = write_films(Path(place), case.removeprefix("loader/"))
                try:
                    yield row | _measured(who, entries, Path(place), options)
                except Exception as error:
                    yield row | {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}


def _measured(who: str, entries: Sequence[Entry], place: Path, options: argparse.Namespace) -> Row:
    batches = latents(place) if who == MAPPED else reading(who, entries, options.device)
    found = rate(batches, options.device, options.each)
    if options.device.startswith("cuda"):
        found["slowdown"] = slowdown(batches, options.device)
    return found


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print rows as lines of JSON."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m diffsda.bench.gpu_loader", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--each", type=float, default=SECONDS, help="seconds that everyone is timed")
    parser.add_argument("--clips", type=Path, help="a prepared folder of videos, in place of ones made here")
    options, _ = parser.parse_known_args(arguments)  # the rest is for rows of networks
    for row in rows_of(options, _say):
        _say({"row": row})
    return 0


def _say(message: Row) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
