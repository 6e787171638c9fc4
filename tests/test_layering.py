"""The file list is the architecture: who may import whom, what a light import loads, where randomness comes from."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import labelnoise

PACKAGE = Path(labelnoise.__file__).parent
ORDER = (
    "errors", "arrays", "noise", "runs",  # ground
    "record", "stages",  # record
    "problem", "observables", "span", "dense", "simulation", "theory", "simulate_run",  # the paper's model
    "archives", "sources", "data", "models",  # real data
    "checkpoints", "train_config", "train_log", "train", "train_run", "attribution", "explain",  # training on it
    "figures", "report", "reproduce", "cli",  # face
)  # fmt: skip
"""A module imports only modules that stand before it."""
WITHOUT_TORCH = ORDER[: ORDER.index("simulate_run") + 1]
FILES = sorted(PACKAGE.glob("*.py"))
MODULES = [file for file in FILES if file.stem != "__init__"]
HEAVY = ("torch", "scipy", "matplotlib", "sklearn", "pandas")
MAX_LINES = 400

named = pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)


def imported_modules(source):
    """Modules of the package that the source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["labelnoise" if node.level else "", node.module]))
            found |= {f"{base}.{name.name}" for name in node.names}
    parts = [name.split(".") for name in found if name.split(".")[0] == "labelnoise"]
    inner = {part[1] if len(part) > 1 else "labelnoise" for part in parts} - {"__version__"}
    return {labelnoise._PUBLIC.get(name, name) for name in inner}  # a public name stands for its module


def imported_at_load(source):
    """Top-level packages that the source imports when it is loaded: not in functions, not for type checkers only."""
    found, todo = set(), list(ast.parse(source).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return found


def global_randomness(source):
    """Uses of a global random state, or of an unnamed stream."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            path = ast.unparse(node)
            if (
                node.attr.startswith("manual_seed")
                or path.startswith(("np.random.", "numpy.random."))
                and path.split(".")[2] != "Generator"
            ):
                found.append(path)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None), *(name.name for name in node.names)]
            found += [name for name in names if name in ("random", "numpy.random")]
    return found


def public_definitions(source):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.parse(source).body if isinstance(node, kinds) and not node.name.startswith("_")}


@named
def test_a_module_imports_only_modules_above_it(file):
    assert file.stem in ORDER, f"{file.stem} has no place in the order: give it one in docs and in this test"
    above = set(ORDER[: ORDER.index(file.stem)])
    below = imported_modules(file.read_text()) - above
    assert not below, f"{file.stem} imports {sorted(below)}, which do not stand above it"


@pytest.mark.parametrize("file", [f for f in MODULES if f.stem in WITHOUT_TORCH], ids=lambda file: file.stem)
def test_the_model_world_loads_no_torch(file):
    assert "torch" not in imported_at_load(file.read_text())


@named
def test_randomness_comes_from_named_streams(file):
    if file.stem != "arrays":
        assert global_randomness(file.read_text()) == []


@named
def test_a_module_is_not_longer_than_400_lines(file):
    assert len(file.read_text().splitlines()) <= MAX_LINES


@named
def test_no_public_function_bears_its_modules_name(file):
    assert file.stem not in public_definitions(file.read_text())


def test_no_public_name_is_hidden_by_a_module():
    assert not set(labelnoise._PUBLIC) & set(ORDER)


def test_every_public_name_resolves():
    assert len(set(labelnoise.__all__)) == len(labelnoise.__all__) > 10
    for name in labelnoise.__all__:
        assert getattr(labelnoise, name) is not None, name
    assert set(labelnoise.__all__) <= set(dir(labelnoise))
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = labelnoise.no_such_name


def test_the_import_is_light():
    """In a fresh interpreter; looking a name up loads its module then and not before."""
    code = (
        "import sys, labelnoise; "
        f"print([name for name in {HEAVY!r} if name in sys.modules]); "
        "_ = labelnoise.simulate; print('pandas' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True False"], done.stdout


def test_the_checks_see_what_they_forbid():
    assert imported_modules("def f():\n    from labelnoise.cli import main") == {"cli"}
    assert imported_modules("from labelnoise import dense, fit, __version__") == {"dense", "train"}
    assert imported_modules("from . import span\nfrom .theory import checks") == {"span", "theory"}
    assert imported_modules("import labelnoise\nimport labelnoise.data as d, numpy") == {"labelnoise", "data"}
    assert imported_at_load("try:\n    import torch.nn\nexcept ImportError:\n    from scipy import stats") == {
        "torch",
        "scipy",
    }
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import torch"
    assert imported_at_load(hidden) == {"typing"}
    assert global_randomness("torch.manual_seed(0)") == ["torch.manual_seed"]
    assert global_randomness("np.random.seed(0); rng: np.random.Generator") == ["np.random.seed"]
    assert "np.random.default_rng" in global_randomness("x = np.random.default_rng(0).normal()")
    assert global_randomness("from numpy.random import normal\nimport random") == ["numpy.random", "random"]
    assert public_definitions("def report(): ...\ndef _hidden(): ...\nclass A:\n    def b(self): ...") == {
        "report",
        "A",
    }
