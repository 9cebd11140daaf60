"""Weight files of other people's networks, for judges that come without."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from diffsda.errors import InputError


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises: InputError if there is none.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a file of weights") from None


def read(path: Path, network: nn.Module, what: str, ignore: str = "", rename: str = "") -> None:
    """Load a network's weights from a file of torch; nothing in it is run.

    ignore: a regular expression for names that the network has no use for. rename: one whose match at the start of a
    name is cut off. Counters of batches may be missing: nothing depends on them.
    Raises: InputError if the file is of another form, or its tensors are not the network's.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its reader raises: many kinds
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as weights ({first[:120]}), expected {what}") from None
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
        raise InputError(f"{path}: got something else than tensors by name, expected {what}")
    given = {re.sub(f"^(module\\.)?({rename})?", "", name): v for name, v in held.items()}
    given = {name: v for name, v in given.items() if not (ignore and re.match(ignore, name))}
    wanted = network.state_dict()
    given |= {k: v for k, v in wanted.items() if k.endswith("num_batches_tracked") and k not in given}
    wrong = [k for k in wanted if k not in given or given[k].shape != wanted[k].shape]
    wrong += [k for k in given if k not in wanted]
    if wrong:
        raise InputError(f"{path}: got tensors that do not fit, {', '.join(wrong[:3])} first; expected {what}")
    network.load_state_dict(given)
