"""Every name used of TensorRT exists in the real bindings of 10 and 11.

The bindings are in the package index, the libraries they load are not. Empty libraries of the same names, which hold
the symbols the bindings ask for, let them be imported; nothing in them can be called.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

from diffsda.export.tensorrt import NAMES, RTX_NAMES

pytestmark = pytest.mark.slow
VERSIONS = ("10.16.1.11", "11.4.0.106")
GONE = {"BuilderFlag": ("FP16", "BF16", "INT8"), "IBuilderConfig": ("int8_calibrator",)}
"""Names of TensorRT 10 that 11 dropped; they show that the check can fail."""

ASK = """
import json, sys
import tensorrt_bindings as trt
wanted = json.load(sys.stdin)
missing = [f"{c}.{m}" for c, members in wanted.items() for m in members if not hasattr(getattr(trt, c, None), m)]
print(json.dumps([trt.__version__, missing]))
"""


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request, tmp_path_factory):
    """Return a version and a folder from which its bindings can be imported."""
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}: apt install gcc binutils")
    folder = tmp_path_factory.mktemp("bindings")
    wheel = f"tensorrt-cu13-bindings=={request.param}"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--target", str(folder), wheel], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason was given"]
        pytest.skip(f"pip cannot get {wheel}: {lines[-1]}")
    hollow(folder, request.param.partition(".")[0])
    return request.param, folder


def hollow(folder, major):
    """Make libraries in which every symbol that the bindings ask for is a function that returns 0."""
    found = list((folder / "tensorrt_bindings").glob("tensorrt*.so"))
    assert found, "the wheel holds no extension"
    listing = subprocess.run(["nm", "-D", "--undefined-only", found[0]], capture_output=True, text=True, check=True)
    symbols = {line.split()[1] for line in listing.stdout.splitlines() if line.split()[0] == "U"}
    ours = sorted(s for s in symbols if not re.search(r"@|^_|^Py|^dl", s))
    assert ours
    source = folder / "hollow.c"
    for name, held in (("nvinfer", ours), ("nvinfer_plugin", []), ("nvonnxparser", [])):
        source.write_text("int of_no_use;\n" + "".join(f"int {symbol}(void) {{ return 0; }}\n" for symbol in held))
        library = f"lib{name}.so.{major}"
        build = ["gcc", "-w", "-shared", "-fPIC", "-o", folder / library, f"-Wl,-soname,{library}", source]
        subprocess.run(build, check=True)


def missing(bindings, wanted):
    """Return the version that was imported, and the names it lacks."""
    _, folder = bindings
    paths = {"PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(wanted),
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, f"{sysconfig.get_platform()}: {done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def test_every_name_used_exists(bindings):
    assert missing(bindings, NAMES) == [bindings[0], []]


def test_the_check_can_fail(bindings):
    lacking = missing(bindings, {**GONE, "Builder": ("no_such_method",)})[1]
    dropped = [f"{c}.{m}" for c, members in GONE.items() for m in members] if bindings[0].startswith("11") else []
    assert lacking == [*dropped, "Builder.no_such_method"]


def test_what_is_of_rtx_alone_is_not_there(bindings):
    lacking = missing(bindings, RTX_NAMES)[1]
    assert lacking == [f"{c}.{m}" for c, members in RTX_NAMES.items() for m in members]
