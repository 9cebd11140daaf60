"""These files run under Triton's interpreter, in a process of their own.

The interpreter is chosen when triton is imported, for good, and an interpreted kernel cannot be compiled. So
``tests/kernels/test_interpreted.py`` starts pytest here with TRITON_INTERPRET=1; without it nothing is collected.
By hand: TRITON_INTERPRET=1 python -m pytest tests/kernels/interpreted
"""

import importlib.util
import os

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
# REQUIRE_TRITON=1 turns its absence into the error that importing it makes.
MISSING = importlib.util.find_spec("triton") is None and os.environ.get("REQUIRE_TRITON") != "1"

if not INTERPRETED or MISSING:
    collect_ignore_glob = ["test_*.py"]
