"""The header of a safetensors file, read without torch: what a checkpoint says about itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsda.errors import CheckpointError

METADATA_KEY = "diffsda"
_LARGEST_HEADER = 100_000_000
_WEIGHTS = re.compile(r"weights-(\d+)\.safetensors")


@dataclass(frozen=True)
class Header:
    """Tensor names with type and shape, and the free text beside them."""

    tensors: dict[str, tuple[str, tuple[int, ...]]]
    metadata: dict[str, str]

    @property
    def parameters(self) -> int:
        """Number of values over all tensors."""
        total = 0
        for _, shape in self.tensors.values():
            count = 1
            for size in shape:
                count *= size
            total += count
        return total

    def ours(self) -> dict[str, Any] | None:
        """Return what this project wrote into the file, or None for a foreign one."""
        try:
            value = json.loads(self.metadata[METADATA_KEY])
        except (KeyError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def read_header(path: str | Path) -> Header:
    """Read a safetensors header: 8 bytes of length, then JSON.

    Raises: CheckpointError if the file is missing, truncated or not of this format.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            total = path.stat().st_size
            if not 2 <= size <= min(_LARGEST_HEADER, total - 8):
                raise CheckpointError(
                    f"{path}: got {total} bytes that are no safetensors file, expected a model saved by this "
                    "program (truncated download? authors' weights go through `diffsda import`)"
                )
            head = json.loads(file.read(size))
        metadata = {str(k): str(v) for k, v in head.pop("__metadata__", {}).items()}
        tensors = {k: (str(v["dtype"]), tuple(map(int, v["shape"]))) for k, v in head.items()}
        longest = max((int(v["data_offsets"][1]) for v in head.values()), default=0)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}), expected a model file or a run folder"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise CheckpointError(f"{path}: got a damaged header, expected a safetensors file") from None
    if total != 8 + size + longest:
        raise CheckpointError(
            f"{path}: got {total} bytes, expected {8 + size + longest}: the file is truncated or damaged"
        )
    return Header(tensors, metadata)


def newest(path: str | Path) -> Path:
    """Return the model file itself, or the one with the most steps in a run folder.

    Raises: CheckpointError if there is none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = {int(m[1]): p for p in path.iterdir() if (m := _WEIGHTS.fullmatch(p.name))}
    if not found:
        raise CheckpointError(
            f"{path}: got a folder without weights-*.safetensors, expected a run folder that holds a saved model"
        )
    return found[max(found)]


def compare(
    given: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]], where: str, what: str = "model"
) -> None:
    """Refuse tensors that do not fit, naming the first five differences.

    Raises: CheckpointError.
    """
    differences = [f"missing {k} {wanted[k]}" for k in wanted if k not in given]
    differences += [f"unknown {k} {given[k]}" for k in given if k not in wanted]
    differences += [f"{k} is {given[k]}, expected {wanted[k]}" for k in wanted if k in given and given[k] != wanted[k]]
    if differences:
        more = f" (and {len(differences) - 5} more)" if len(differences) > 5 else ""
        raise CheckpointError(f"{where}: tensors do not fit the {what}: {'; '.join(differences[:5])}{more}")
