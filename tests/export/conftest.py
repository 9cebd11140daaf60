"""Exports that several files of tests look at."""

import numpy as np
import pytest
from golden_exports import GOLDEN, first_stage, plan_of, prior_of

import diffsda


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return a function that exports a golden model once: its model, its recorded results and its folder.

    With it go a prior, and for latents of video the recorded first stage.
    """
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from diffsda.export import onnx

    made = {}

    def once(name, precision="float32"):
        if (name, precision) not in made:
            model = diffsda.load_authors(GOLDEN / f"{name}.weights.safetensors")
            folder = tmp_path_factory.mktemp("export") / f"{name}-{precision}"
            sampler = plan_of(model) if precision == "float32" else None
            golden = dict(np.load(GOLDEN / f"{name}.npz"))
            stage = first_stage() if model.recipe.clips.latent else None
            prior = prior_of(model, golden["x"].shape[1])
            onnx.export(model, folder, precision=precision, sampler=sampler, prior=prior, first_stage=stage)
            made[name, precision] = model, golden, folder
        return made[name, precision]

    return once
