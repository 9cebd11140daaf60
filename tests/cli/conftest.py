"""Small models and clips on disk, and a runner that says what a verb returned and printed."""

import os
import subprocess
import sys
import warnings

import pytest
from shelf import ROOT, SHAPES, VECTOR, VIDEO, Said, build, vectors

from diffsda.checkpoint import save
from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.firststage.whiten import Whitening


@pytest.fixture
def cli(capsys):
    """Run a verb in this process; a warning counts as a failure, as it would be a second line on stderr."""

    def run(*words):
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                status = main([str(word) for word in words])
            except SystemExit as leave:
                status = leave.code or 0
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Return a folder with two models, ``vector`` (whitened) and ``video``, and good clips for both."""
    folder = tmp_path_factory.mktemp("shelf")
    whitening = Whitening((3.0, 2.0, 3.5), (2.0, 1.5, 2.5))
    save(build(VECTOR, whitening), folder / "vector.safetensors")
    save(build(VIDEO), folder / "video.safetensors")
    for name, shape in SHAPES.items():
        write(folder / f"{name}.npz", {"x": vectors(shape)})
    return folder


@pytest.fixture
def room(tmp_path):
    """Return an empty folder for outputs."""
    folder = tmp_path / "room"
    folder.mkdir()
    return folder


@pytest.fixture
def process(tmp_path):
    """Run Python code, or a verb, in a process of its own, from a folder that is not the checkout."""

    def run(*words, code=None, **options):
        start = ["-m", "diffsda"] if code is None else ["-c", code]
        # Not measured: some of these may not write, and coverage could not write its own file either.
        outer = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        env = {**outer, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        argv = [sys.executable, *start, *map(str, words)]
        done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120, **options)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def refused():
    """Assert that a verb refused something the way people can read."""

    def check(said, verb, status, *words):
        head = f"diffsda {verb}: error: " if verb else "diffsda: error: "
        assert said.err.startswith(head), said
        assert said.err.count("\n") == 1, said.err
        assert said.err.endswith("\n")
        assert said.err.isprintable() or said.err[:-1].isprintable()
        assert "Traceback" not in said.err
        assert "unexpected" not in said.err, said.err
        assert said.out == ""
        missing = [word for word in words if word not in said.err]
        assert not missing, f"{said.err!r} lacks {missing}"
        assert said.status == status, said

    return check
