"""The house rules a reader can rely on: imports go down, files are small, named for what they hold, and say so."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("diffsda", "kernels", "export", "data", "bench")
FILES = sorted(p for top in PACKAGES for p in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# From the ground up. A room imports from itself and from lower floors only.
FLOORS = (
    {"errors"},
    {"atomic", "header", "recipe", "kernels", "factors"},
    {"foreign", "terms", "presets", "nn", "edm", "data"},
    {"firststage", "encoder", "denoiser", "prior"},
    {"check"},
    {"disentangler"},
    {"diffusing", "trainable"},
    {"model"},
    {"systems"},
    {"checkpoint", "authors_keys", "authors_systems", "inference"},
    {"authors", "doctor"},
    {"tasks", "train"},
    {"evaluate", "baselines"},
    {"report", "export"},
    {"compare"},
    {"bench"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Rooms with a stair of their own: all they may import besides themselves.
ONLY = {"kernels": {"errors"}, "data": {"errors", "atomic", "recipe"}, "presets": {"errors", "recipe"}}
# What a model is never knows where clips come from.
WITHOUT_DATA = {
    *("nn", "edm", "prior", "firststage", "encoder", "denoiser", "model", "checkpoint", "authors", "authors_keys")
}
INSTALLED = {"torch", "numpy", "safetensors", "tyro", "rich", "matplotlib", "sklearn", "scipy", "diffsda"}
NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


def title(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    inner = parts[1:] if parts[0] == "diffsda" else parts
    return inner[0] if inner[0] != "__init__" else "diffsda"


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def run_time(tree):
    """Yield all nodes but those under ``if TYPE_CHECKING``."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def names_imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def rooms_imported(path):
    names = [n for node in run_time(tree_of(path)) for n in names_imported(node)]
    rooms = {n.split(".")[1] for n in names if n.startswith("diffsda.")}
    return {r for r in rooms if r in FLOOR or any((ROOT / top / r).exists() for top in ("diffsda", "."))}


def wrong_imports(room, rooms):
    """Return the rooms that this one must not import."""
    others = rooms - {room}
    wrong = {r for r in others if FLOOR[r] >= FLOOR[room]}
    if room in ONLY:
        wrong |= others - ONLY[room]
    if room in WITHOUT_DATA:
        wrong |= others & {"data"}
    return wrong


def test_imports_go_down():
    wrong = {}
    for path in FILES:
        room, rooms = room_of(path), rooms_imported(path)
        assert room == "diffsda" or room in FLOOR, f"give {room} a floor in {Path(__file__).name}"
        # `import diffsda` itself imports nothing of ours.
        found = rooms if room == "diffsda" else wrong_imports(room, rooms)
        if found:
            wrong[title(path)] = found
    assert not wrong


def test_the_rule_can_be_broken():
    assert wrong_imports("nn", {"nn", "model", "kernels"}) == {"model"}
    assert wrong_imports("edm", {"recipe", "train"}) == {"train"}
    assert wrong_imports("data", {"recipe", "factors"}) == {"factors"}
    assert wrong_imports("kernels", {"errors", "atomic"}) == {"atomic"}
    assert wrong_imports("model", {"data"}) == {"data"}
    assert wrong_imports("tasks", {"cli"}) == {"cli"}
    assert not wrong_imports("train", {"data", "model", "recipe"})


def test_optional_packages_are_imported_inside_functions():
    wrong = {}
    for path in FILES:
        allowed = INSTALLED | set(sys.stdlib_module_names)
        # Kernels are imported by the call that launches them.
        allowed |= {"triton"} if room_of(path) == "kernels" and path.name.startswith(("fused", "gluon")) else set()
        allowed |= {"pytest"} if room_of(path) == "bench" else set()
        top = {n.split(".")[0] for node in tree_of(path).body for n in names_imported(node)}
        if top - allowed:
            wrong[title(path)] = top - allowed
    assert not wrong


def silent_parts(tree):
    """Return what is public and has no docstring: the module, its functions and classes, their methods."""
    silent = [] if ast.get_docstring(tree) else ["the module"]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in (n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")):
        within = node.body if isinstance(node, ast.ClassDef) else []
        # A module's forward is what its class says; names with an underscore are nobody's business.
        public = [n for n in within if isinstance(n, kinds) and not n.name.startswith("_") and n.name != "forward"]
        silent += [n.name for n in (node, *public) if not ast.get_docstring(n)]
    return silent


def test_everything_public_says_what_it_is():
    silent = {title(p): silent_parts(tree_of(p)) for p in FILES if not p.name.startswith("bench_")}
    assert not {name: parts for name, parts in silent.items() if parts}
    assert silent_parts(ast.parse('"""Doc."""\ndef f(): pass\ndef _g(): pass')) == ["f"]
    assert silent_parts(ast.parse("class A:\n    def b(self): pass")) == ["the module", "A", "b"]


def test_every_module_has_a_docstring():
    assert not [title(p) for p in (*FILES, *TESTS) if not ast.get_docstring(tree_of(p))]


def test_files_are_small_and_named_for_what_they_hold():
    everything = [*FILES, *TESTS, ROOT / "setup.py"]
    assert not [title(p) for p in everything if len(p.read_text(encoding="utf-8").splitlines()) > 400]
    assert not [title(p) for p in everything if {q.removesuffix(".py") for q in p.relative_to(ROOT).parts} & NAMES]


def test_no_two_test_modules_share_a_name():
    counts = Counter(p.name for p in TESTS)
    assert not [name for name, count in counts.items() if count > 1 and name != "conftest.py"]


def test_importing_is_cheap():
    code = """
import sys, diffsda, diffsda.presets, diffsda.recipe, diffsda.errors, diffsda.header, diffsda.factors
assert diffsda.__version__ and "load" in dir(diffsda)
heavy = {"torch", "numpy", "matplotlib", "sklearn", "tyro", "rich"} & set(sys.modules)
assert not heavy, heavy
diffsda.Recipe, diffsda.preset("demo"), diffsda.Factors
assert "torch" not in sys.modules
diffsda.DiffSDA
assert "torch" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_does_not_import_torch():
    code = """
import runpy, sys
sys.argv = ["diffsda", "--help"]
try:
    runpy.run_module("diffsda", run_name="__main__")
except SystemExit as stop:
    assert not stop.code
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_unknown_names_are_refused_by_name():
    import diffsda

    with pytest.raises(AttributeError, match="'lod'"):
        diffsda.lod  # noqa: B018
