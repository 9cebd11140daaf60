"""Running a trained model fast: networks prepared once, tiles of fixed size, one graph for a whole sample."""

from diffsda.inference.execution import Execution
from diffsda.inference.session import Session

__all__ = ["Execution", "Session"]
