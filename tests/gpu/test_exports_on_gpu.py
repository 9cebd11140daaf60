"""Exported folders on a CUDA device: ONNX Runtime on torch's memory, beside the recorded results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diffsda

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def session(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    from diffsda.export import onnx
    from diffsda.export.session import OnnxSession

    onnx.export(diffsda.load_authors(GOLDEN / "timeseries.weights.safetensors"), tmp_path / "export")
    return OnnxSession(tmp_path / "export", provider="cuda")


def test_recorded_samples_come_out_of_onnx_runtime(session):
    golden = {k: torch.as_tensor(v) for k, v in np.load(GOLDEN / "timeseries.npz").items()}
    for _ in range(3):  # Memory is used again from the second time on.
        f = session.encode(golden["x"])
        assert f.static.is_cuda
        assert float((f.static.cpu() - golden["enc_s"]).abs().max()) < 1e-4
        sample = session.sample(f, golden["xT"], 32).cpu()
        assert float((sample - golden["sample_T32"]).abs().max()) < 1e-3
