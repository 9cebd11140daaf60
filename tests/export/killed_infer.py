"""Work through a job in a child, kill the child at a random moment, look at what is on disk; again and again.

Run as: killed_infer.py JOB OUT KILLS SEED. Prints what it saw as JSON. Torch computes nothing in the parent, so that
forking is safe.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from infer_jobs import bytes_of, infer, lines


def in_child(job, out):
    """Fork; the child works and never comes back."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = bool(infer(job, out).failed)
        finally:
            os._exit(status)
    return child


def size(path):
    """How long a file is by now."""
    return path.stat().st_size if path.exists() else 0


def main():
    job, out, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    draw = random.Random(seed)
    seen = {"kills": 0, "lines": [], "files": []}
    for _ in range(kills):
        child, before = in_child(job, out), size(out / "results.jsonl")
        while size(out / "results.jsonl") == before and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.0001)
        time.sleep(draw.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] == signal.SIGKILL:
            seen["kills"] += 1
        seen["lines"].append(len((out / "results.jsonl").read_bytes().splitlines()))
        seen["files"].append(len(bytes_of(out)))
    done = len(lines(out))
    child = in_child(job, out)
    seen["last"] = [os.waitpid(child, 0)[1], done]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
