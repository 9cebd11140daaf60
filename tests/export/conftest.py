"""Exports that several files of tests look at."""

import numpy as np
import pytest
from golden_exports import GOLDEN, plan_of

import diffsda


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return a function that exports a golden model once: its model, its recorded results and its folder."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from diffsda.export import onnx

    made = {}

    def once(name, precision="float32"):
        if (name, precision) not in made:
            model = diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors")
            folder = tmp_path_factory.mktemp("export") / f"{name}-{precision}"
            sampler = plan_of(model) if precision == "float32" else None
            onnx.export(model, folder, precision=precision, sampler=sampler)
            made[name, precision] = model, dict(np.load(GOLDEN / f"{name}.npz")), folder
        return made[name, precision]

    return once
