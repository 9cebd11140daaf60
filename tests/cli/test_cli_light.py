"""What must work without torch, and what a missing package looks like."""

import json

import pytest
from shelf import names

VERB = """
import sys
BLOCKED = set(sys.argv.pop(1).split())
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from diffsda.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as leave:
    status = leave.code or 0
assert not BLOCKED & sys.modules.keys()
sys.exit(status)
"""


@pytest.fixture
def without(process):
    """Run a verb where some packages are not installed."""

    def run(blocked, *words):
        return process(" ".join(blocked), *words, code=VERB)

    return run


def test_import_and_its_names_need_no_torch(process):
    code = "import sys, diffsda; assert diffsda.__version__; assert 'load' in dir(diffsda); print(*sys.modules)"
    loaded = process(code=code).out.split()
    assert "diffsda" in loaded
    assert not {"torch", "numpy", "tyro", "matplotlib"} & set(loaded)
    code = "import sys, diffsda; print({'Session', 'Execution'} <= set(diffsda.__all__), 'torch' in sys.modules); "
    said = process(code=code + "print(diffsda.Execution(tile=3).tile, diffsda.Session.__module__)")
    assert said.out == "True False\n3 diffsda.inference.session\n"
    said = process(code="import diffsda; diffsda.nonsense")
    assert "module 'diffsda' has no attribute 'nonsense'" in said.err
    said = process(code="import diffsda; print(diffsda.preset('mug').clips.frames, diffsda.Recipe.__name__)")
    assert said.out == "15 Recipe\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--help"], "usage: diffsda VERB"),
        (["doctor", "--help"], "--json"),
        (["describe", "--help"], "MODEL"),
        (["encode", "--help"], "--as-is"),
        (["reconstruct", "--help"], "--precision {auto,float32,bf16,fp16}"),
        (["swap", "--help"], "--route {auto,eager,graph,compile}"),
        (["bench", "--help"], "--profile"),
        (["train", "mug", "--help"], "--optim.lr FLOAT"),
        (["train", "mug", "--dry-run"], '"name": "mug"'),
    ],
)
def test_helps_and_dry_runs_need_no_torch(words, found, without):
    said = without({"torch", "matplotlib", "sklearn"}, *words)
    assert (said.status, said.err) == (0, "")
    assert found in said.out


def test_describe_needs_no_torch(shelf, without):
    said = without({"torch"}, "describe", shelf / "video.safetensors", "--json")
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out)["recipe"]["name"] == "video"


@pytest.mark.parametrize("blocked", ["tyro", "torch", "matplotlib"])
def test_a_missing_package_is_one_line_with_how_to_get_it(blocked, without, shelf, room):
    clips = shelf / "vector.npz"
    words = ["swap", shelf / "vector.safetensors", clips, clips, "--out", room / "x.npz", "--figure", room / "f.png"]
    said = without({blocked}, *words)
    assert said.status == 3, said
    assert said.err.startswith(f"diffsda swap: error: {blocked} is not installed: pip install ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert names(room) == []


def test_the_module_runs_from_anywhere(process, shelf, room):
    """One whole verb in a process of its own: nothing but results on stdout, nothing at all on stderr."""
    said = process("encode", shelf / "vector.safetensors", shelf / "vector.npz", "--out", room / "z.npz")
    assert (said.status, said.out, said.err) == (0, f"{room / 'z.npz'}\n", "")


def test_a_refusal_in_a_process_of_its_own(process, shelf, room):
    said = process("encode", shelf / "vector.npz", shelf / "vector.npz", "--out", room / "z.npz")
    assert (said.status, said.out) == (1, "")
    assert said.err.count("\n") == 1
    assert said.err.startswith("diffsda encode: error: ")
    assert "no safetensors file" in said.err
