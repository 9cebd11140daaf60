"""The package as people get it: a wheel installed elsewhere, and a checkout used without installing."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROBE = (
    "import diffsda, diffsda.kernels.group_norm, diffsda.data.registry, diffsda.export, diffsda.bench.published;"
    "clips = diffsda.data.registry.open_clips('japanese_vowels', 'test');"
    "import importlib.util as u;"
    "print(len(clips), u.find_spec('kernels') is None, diffsda.__file__)"
)


def run(*command: str, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean() -> dict[str, str]:
    """Return an environment without the checkout on the import path."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}


@pytest.mark.slow
def test_wheel_works_from_another_folder(tmp_path):
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path / "dist"), str(ROOT))
    wheel = next((tmp_path / "dist").glob("*.whl"))
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(str(python), "-m", "pip", "install", "-q", "--no-deps", str(wheel), env=clean())
    # The dependencies are borrowed from this environment: only the package itself is under test.
    site = next((tmp_path / "env" / "lib").glob("python*")) / "site-packages"
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    count, alone, where = run(str(python), "-c", PROBE, cwd=elsewhere, env=clean()).split()
    assert (count, alone) == ("370", "True")
    assert Path(where).is_relative_to(tmp_path)
    command = tmp_path / "env" / "bin" / "diffsda"
    run(str(command), "doctor", cwd=elsewhere, env=clean())
    out = ("--out", "run", "--optim.steps", "3", "--optim.batch", "4")
    run(str(command), "train", "tiny_vector", "--data", "series", *out, cwd=elsewhere, env=clean())
    assert "tiny_vector" in run(str(command), "describe", "run", cwd=elsewhere, env=clean())


def test_checkout_works_without_installing(tmp_path):
    site = sysconfig.get_path("purelib")
    # -S leaves out everything installed, this package's link to the checkout among it; -I would leave out PYTHONPATH.
    environment = clean() | {"PYTHONPATH": os.pathsep.join([str(ROOT), site])}
    probe = PROBE.replace("u.find_spec('kernels') is None", "True")
    out = run(sys.executable, "-S", "-c", probe, cwd=tmp_path, env=environment)
    assert out.split()[:2] == ["370", "True"]
    assert Path(out.split()[2]).is_relative_to(ROOT)
