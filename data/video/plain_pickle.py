"""Read the pickles that data sets come with (lists of names) without ever running what is in them."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffsda.errors import InputError

_LARGEST = 256 << 20
_VALUES = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_SET": set, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
_MARKED: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list, "DICT": lambda parts: _paired(parts)}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME"}


def read_pickle(path: Path) -> Any:
    """Read a pickle of lists, tuples, sets and dicts of texts and numbers.

    Its operations are followed one by one by the few lines below; an object of any class, which is how a pickle runs
    code, is refused, and so is whatever is not needed for plain data.
    Raises: InputError if the file cannot be read or holds anything else.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: is larger than {_LARGEST >> 20} MiB, expected a pickled list of names")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return _Machine().run(data)
    except InputError:
        raise
    except Exception as error:
        # pickletools and a stack that does not add up fail in many ways; all mean the same.
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: cannot be read as a pickled list of names ({words})") from None


def read_names(path: Path) -> list[str]:
    """Read a pickled list, tuple, set or dict of names, in its order (a set's names sorted).

    Raises: InputError if the file holds anything else.
    """
    held = read_pickle(path)
    if not isinstance(held, list | tuple | set | dict) or not all(isinstance(name, str) for name in held):
        raise InputError(f"{path}: got a pickled {type(held).__name__}, expected a list of names")
    return sorted(held) if isinstance(held, set) else list(held)


def _paired(parts: list[Any]) -> dict[Any, Any]:
    return dict(zip(parts[::2], parts[1::2], strict=True))


class _Machine:
    """The part of the pickle machine that plain data needs: a stack, marks on it, and a memory."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                (value,) = self.stack
                return value
            self._step(opcode.name, argument)
        raise ValueError("it has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.memory[len(self.memory) if argument is None else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memory[argument])
        else:
            self._gather(name)

    def _gather(self, name: str) -> None:
        """Do what takes things off the stack."""
        if name in _SHORT_TUPLES:
            count = _SHORT_TUPLES[name]
            parts = self.stack[-count:]
            del self.stack[-count:]
            self.stack.append(tuple(parts))
        elif name == "APPEND":
            value = self.stack.pop()
            self.stack[-1].append(value)
        elif name in _MARKED:
            self.stack.append(_MARKED[name](self._marked()))
        elif name in ("APPENDS", "ADDITEMS"):
            parts = self._marked()
            self.stack[-1].extend(parts) if name == "APPENDS" else self.stack[-1].update(parts)
        elif name in ("SETITEM", "SETITEMS"):
            parts = self._marked() if name == "SETITEMS" else [self.stack.pop(-2), self.stack.pop()]
            self.stack[-1].update(_paired(parts))
        else:
            raise ValueError(f"it wants {name}, which plain lists of names do not")

    def _marked(self) -> list[Any]:
        at = self.marks.pop()
        parts = self.stack[at:]
        del self.stack[at:]
        return parts
