"""Tensors from files of strangers, read without trusting them."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from diffsda.errors import CheckpointError
from diffsda.header import read_header


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from .safetensors, or from .pth / .pt / .ckpt with ``weights_only``.

    A wrapper key ``state_dict`` is followed. Nothing in the file is executed, and no more memory is used than
    the file is large.
    Raises: CheckpointError if the file is missing, truncated, holds code, is compressed, or holds anything
    but named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected the authors' state dict (.pth or .safetensors)")
    if path.suffix == ".safetensors":
        read_header(path)
        try:
            return safetensors.torch.load_file(path)
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error})") from None
    refuse_bomb(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a stranger's file holds, one error tells enough
            held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: got a pickle that wants to run code or is damaged, expected a plain state dict of tensors"
        ) from None
    except Exception as error:  # torch raises many kinds on damaged files
        raise CheckpointError(
            f"{path}: cannot be read as a state dict ({type(error).__name__}: {_first_line(error)}), "
            "expected an intact .pth or .safetensors file"
        ) from None
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict) or not held:
        raise CheckpointError(f"{path}: got {type(held).__name__}, expected a dictionary of named tensors")
    for name, value in held.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: got {name!r} of type {type(value).__name__}, expected names and tensors only"
            )
        plain = value.layout is torch.strided and value.device.type == "cpu"
        if not plain or value.is_quantized or value.is_nested:
            raise CheckpointError(f"{path}: {name} is a tensor of a special kind (sparse, say), expected plain numbers")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{path}: {name} claims shape {tuple(value.shape)} without the data for it")
    return held


def refuse_bomb(path: Path) -> None:
    """Refuse an archive that unpacks to more than it holds; torch writes its own uncompressed.

    To be called before anything else looks into a stranger's file. Raises: CheckpointError.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except Exception:  # a directory of an archive can be broken in as many ways as there are fields
        raise CheckpointError(f"{path}: got a damaged archive, expected an intact .pth file") from None
    unpacked, held = sum(p.file_size for p in parts), path.stat().st_size
    if any(p.compress_type != zipfile.ZIP_STORED for p in parts) or unpacked > held:
        raise CheckpointError(
            f"{path}: got an archive of {held} bytes that unpacks to {unpacked}, expected one saved by torch "
            "(uncompressed)"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0][:160]
