"""The benches' own code, at shapes small enough for the interpreter: everyone takes part and computes the same."""

import dataclasses
import importlib

import pytest
import torch

from diffsda.bench.kernel_cases import BENCHES, OURS, rows

# What the benches' constants become here.
SMALL = {
    "group_norm": {"LARGE": ((2, 64, 4), (1, 192, 3))},
    "film_layer_norm": {"SHAPES": ((3, 32), (2, 40), (5, 32), (2, 16))},
    "precondition": {"SHAPES": ((3, 4, 4, 4), (2, 4, 4, 2), (2, 3, 4, 4))},
    "edm_loss": {"SHAPES": ((3, 4, 4, 4), (2, 4, 4, 2), (2, 3, 4, 4))},
    "heun": {"SHAPES": ((3, 4, 4, 4), (2, 3, 5, 4))},
    "attention": {"SHAPES": ((2, 16, 32), (2, 4, 32), (1, 16, 16))},
    "nearest_code": {"SHAPES": ((33, 64, 4), (5, 16, 4))},
    "adamw": {},
}


class NoClock:
    """A stand-in for a timer: runs the call once and says a millisecond."""

    def cold(self, call):
        call()
        return 1.0

    def graph(self, call):
        return lambda: self.cold(call)


@pytest.mark.parametrize("op", BENCHES)
def test_everyone_computes_the_same(op, monkeypatch):
    bench = importlib.import_module(f"diffsda.bench.bench_{op}")
    for name, value in SMALL[op].items():
        monkeypatch.setattr(bench, name, value)
    if op == "group_norm":
        forms = ({"few": True}, {"offset": True})
        small = [bench._case(2, 64, 3, direction="forward", skipped=32, **form) for form in forms]
        monkeypatch.setattr(bench, "sites", lambda: small)
        monkeypatch.setattr(bench, "_gluon", lambda: False)
    if op == "adamw":
        monkeypatch.setattr(bench, "shapes_of", lambda name: ((3, 5), (7,), (2, 2, 3)))
    cases = [c for c in bench.cases() if c.name != "one tensor of 2^27, 134 M in 1"]
    # CPU torch rounds some operations of half precision in between: only float32 and bfloat16 are compared here.
    for case in (c for c in cases if c.dtype != "float16" and "160x" not in c.name):
        if op == "attention":  # the interpreter's product of bf16 tiles is garbage
            case = dataclasses.replace(case, dtype="float32")
        torch.manual_seed(0)
        peers = bench.peers(case, torch.device("cpu"))
        found = {r["peer"]: r for r in rows(case, peers, NoClock(), 1e9, rounds=1)}
        assert {OURS, "eager", "copy"} <= set(found)
        wrong = {n: r for n, r in found.items() if r.get("wrong") or "failed" in r}
        # A library's kernel may have no CPU form.
        assert not {n: r for n, r in wrong.items() if n in (OURS, "eager", "copy", "foreach")}, case.name
        assert found[OURS]["milliseconds"] == 1.0
