"""What every test gets: one thread, random numbers of its own, and GPU tests that cannot be skipped unnoticed."""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
try:
    from hypothesis import HealthCheck, settings
except ImportError:
    pass  # A bare GPU host runs the gpu-marked tests, which draw no examples.
else:
    settings.register_profile(
        "house",
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("house")


@pytest.fixture(autouse=True)
def _own_random_numbers():
    """Start every test from the same random state and put back the one there was: order changes nothing."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    yield
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])  # noqa: NPY002
    random.setstate(before[2])


@pytest.fixture(scope="session")
def golden():
    """Return the folder of recorded outputs."""
    return Path(__file__).parent / "golden"


@pytest.fixture
def randomise():
    """Return a function that gives every parameter a random value, also those that start at zero."""
    return _randomise


def _randomise(model, seed=0):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            unit = torch.randn(value.shape, generator=draw, dtype=torch.float32).to(value.dtype)
            if value.ndim > 1:
                value.copy_(unit / value[0].numel() ** 0.5)
            else:
                value.copy_(0.2 * unit + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    return model.eval()


@pytest.fixture
def disk(tmp_path, request):
    """Mount a disk of its own, of 12 MB or the number of them given as its parameter, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid():
        pytest.skip("mounting takes root")
    size = f"size={getattr(request, 'param', 12)}m"
    if subprocess.run([mount, "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    for _ in range(20):
        if not subprocess.run(["umount", folder], capture_output=True).returncode:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{folder} is still mounted")


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and item.get_closest_marker("gpu") and os.environ.get("REQUIRE_GPU") == "1":
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_GPU=1, but this GPU test was skipped: {report.longrepr}"
    return report
