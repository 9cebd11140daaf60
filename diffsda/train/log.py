"""What a run says while it goes: a JSON line a record always, TensorBoard and a progress bar on request."""

from __future__ import annotations

import io
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import diffsda
from diffsda.atomic import atomic_write
from diffsda.errors import MissingPackage, SaveError
from diffsda.kernels.backend import BACKENDS, chosen

FILE = "log.jsonl"


def provenance() -> dict[str, Any]:
    """Return what the run ran on, for ``provenance.json``."""
    cuda = torch.cuda.is_available()
    return {
        "diffsda": diffsda.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "kernels": {operation: chosen(operation) for operation in BACKENDS},
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


class Log:
    """Append records to ``log.jsonl`` and, if asked, to TensorBoard.

    Raises: MissingPackage if TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, after: int = 0, tensorboard: bool = False) -> None:
        self.path = folder / FILE
        if after:
            self._forget(after)
        # No buffer: a record is in the file when it is written, and none is left to fail again on closing.
        try:
            self._file: io.FileIO | None = io.FileIO(self.path, "a")
        except OSError as error:
            raise SaveError(f"{self.path}: could not be opened ({error.strerror})") from error
        # purge_step is the first step to forget.
        self._writer: Any = summary_writer()(str(folder / "tensorboard"), purge_step=after + 1) if tensorboard else None

    def write(self, step: int, **values: float) -> None:
        """Append one record.

        Raises: SaveError if the disk is full.
        """
        record = {"step": step, **{k: float(f"{v:.6g}") for k, v in values.items()}}
        assert self._file is not None
        line = (json.dumps(record) + "\n").encode()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise SaveError(f"{self.path}: could not be written ({error.strerror})") from error
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._writer is not None:
            self._writer.close()

    def _forget(self, after: int) -> None:
        """Drop records of steps that a kill undid."""
        kept = [line for line in read_log(self.path) if line["step"] <= after]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        atomic_write(self.path, lambda file: file.write(text.encode()))


def summary_writer() -> Any:
    """Return TensorBoard's class that writes event files.

    Raises: MissingPackage if it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingPackage(
            "TensorBoard is not installed: pip install 'diffsda[tensorboard]', or leave out --tensorboard"
        ) from None
    return SummaryWriter


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the records of a run; a line cut short by a kill is left out."""
    if path.is_dir():
        path = path / FILE
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return records
