"""The errors people see: each says what was given, what was expected and what to do, in one line."""

from __future__ import annotations


class DiffSDAError(Exception):
    """Stop with a clear message; the command line prints it and leaves with ``exit_code``."""

    exit_code = 1


class InputError(DiffSDAError, ValueError):
    """Something handed in (array, option, name) is not usable as given."""

    exit_code = 2


class CheckpointError(DiffSDAError, ValueError):
    """A model file is truncated, foreign, hostile or of other sizes than expected."""


class SaveError(DiffSDAError, OSError):
    """A file could not be written; what was there before is untouched."""


class TrainingError(DiffSDAError, RuntimeError):
    """Training cannot go on (loss not finite, state of another run)."""


class ExportError(DiffSDAError, RuntimeError):
    """An exported graph does not compute what the model does, or cannot be built."""


class MissingPackage(DiffSDAError, ImportError):
    """An optional package is needed; the message holds the pip line."""

    exit_code = 3
