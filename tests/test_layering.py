"""The file list is the architecture: who imports whom, what an import loads, how long things are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import labelnoise

PACKAGE = Path(labelnoise.__file__).parent
ROOT = Path(__file__).parents[1]
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [file for file in FILES if file.stem != "__init__"]
HEAVY = ("torch", "scipy", "matplotlib", "sklearn", "pandas")
MAX_LINES, MAX_FUNCTION = 300, 50

named = pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(PACKAGE).as_posix())


def module_name(file):
    return ".".join(["labelnoise", *file.relative_to(PACKAGE).with_suffix("").parts])


def long_functions(source):
    """Functions with more lines than the limit; docstrings and decorators do not count."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            found += [f"{node.name}: {lines}"] * (lines > MAX_FUNCTION)
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


def test_rooms_import_only_what_stands_above_them():
    """The contracts stand in pyproject.toml; a room that has no place there breaks them, too."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_needs_neither_torch_nor_matplotlib_loads_neither():
    """In one fresh interpreter: ground, noise, runs, record, theory, what reads images, and every kind of run."""
    light = ("labelnoise", "noise", "runs", "record", "theory", "images")
    names = [module_name(file) for file in MODULES if file.parent.name in light or file.stem == "experiment"]
    names = [name for name in names if name.rpartition(".")[2] not in ("networks", "figures", "page")]
    code = (
        f"import sys, importlib\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        "    for heavy in ('torch', 'matplotlib', 'jinja2', 'sklearn', 'PIL', 'xarray', 'distributed'):\n"
        "        if heavy in sys.modules: sys.exit(f'{name} loads {heavy}')\n"
        "from labelnoise.runs.kinds import all_kinds\n"
        "[kind.config() for kind in all_kinds().values()]\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "labelnoise.theory.span" in names and "labelnoise.errors" in names


@named
def test_randomness_comes_from_named_streams(file):
    if file.stem != "arrays":
        assert global_randomness(file.read_text()) == []


@named
def test_modules_and_functions_are_short(file):
    assert len(file.read_text().splitlines()) <= MAX_LINES
    assert long_functions(file.read_text()) == []


@named
def test_no_public_function_bears_its_modules_name(file):
    assert file.stem not in public_definitions(file.read_text())


def test_every_public_name_resolves():
    assert len(set(labelnoise.__all__)) == len(labelnoise.__all__) > 10
    for name in labelnoise.__all__:
        assert getattr(labelnoise, name) is not None, name
    assert set(labelnoise.__all__) <= set(dir(labelnoise))
    with pytest.raises(AttributeError, match="no_such_name"):
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
    assert global_randomness("torch.manual_seed(0)") == ["torch.manual_seed"]
    assert global_randomness("np.random.seed(0); rng: np.random.Generator") == ["np.random.seed"]
    assert "np.random.default_rng" in global_randomness("x = np.random.default_rng(0).normal()")
    assert global_randomness("from numpy.random import normal\nimport random") == ["numpy.random", "random"]
    assert public_definitions("def report(): ...\ndef _hidden(): ...\nclass A:\n    def b(self): ...") == {
        "report",
        "A",
    }
    body = "\n    x = 1" * MAX_FUNCTION
    assert long_functions(f"def f():{body}") == [f"f: {MAX_FUNCTION + 1}"]
    assert long_functions(f"def f():\n    '''a\n\n    b'''{body[10:]}") == []
