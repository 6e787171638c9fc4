"""The documents: examples run, links lead somewhere, public names are documented, versions stand in one place."""

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import labelnoise

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/labelnoise"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[2][:30])
def test_readme_examples_run(example, capsys):
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_practitioner_example_stops_in_time_and_finds_wrong_labels(capsys):
    names = {}
    exec(compile(EXAMPLES[-1], "README.md", "exec"), names)
    assert "a fall of more than two paired standard errors" in capsys.readouterr().out
    first, wrong = names["ln"].suspects(names["monitor"].recorder).head(50), (names["y"] != names["true"]).numpy()
    assert wrong[first["index"]].mean() > 0.6 > 2 * wrong.mean()
    assert EXAMPLES[-1].count("  # +") == 5  # lines that a loop needs


def test_the_example_of_a_sweep_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example, *others = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sweeps.md").read_text(), flags=re.DOTALL)
    exec(compile(example, "sweeps.md", "exec"), {})
    *_, last = capsys.readouterr().out.splitlines()
    assert len(set(map(float, last.split()))) == 1  # the run that was made again has the same T1
    for other in others:
        compile(other, "sweeps.md", "exec")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_local_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_file_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"(?:benchmarks|docs)/[\w.-]+\w", text):
        assert (ROOT / name).exists(), name


def test_the_architecture_page_lists_every_module():
    page = (ROOT / "docs/architecture.md").read_text()
    files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    places, rooms = (page.split(f"## {title}")[1].split("\n## ")[0] for title in ("Where to go", "The rooms"))
    listed = re.findall(r"^\|[^|]*\| `([\w/]+\.py)` \|", rooms, flags=re.MULTILINE)
    assert sorted(listed) == sorted(files)
    named = re.findall(r"`(\w+/[\w.]+)`", places)
    assert len(named) > 15 and all((PACKAGE / name).is_file() for name in named)


def test_readme_commands_are_understood(monkeypatch, capsys):
    from labelnoise import cli
    from labelnoise.runs import folders
    from labelnoise.runs.kinds import Outcome, all_kinds

    seen = []

    def run(config, out, overwrite, progress, *options):
        seen.append(config)
        return Outcome(out, "ok", False)

    monkeypatch.setattr(folders, "run_experiment", run)
    for own in ("simulate", "sweep", "train", "audit"):
        way = {"findings": None, **({"execute": run} if own in ("sweep", "train") else {})}
        monkeypatch.setitem(all_kinds(), own, replace(all_kinds()[own], **way))
    commands = re.findall(r"^labelnoise (.*)$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    codes = [cli.main(line.split()) for line in commands]
    assert codes == [0, 2, 0, 2, 0, 0, 0, 2, 2]  # there is no run to explain or report on
    audit, images, simulated, swept, trained = seen
    assert (audit.data, audit.label, images.data) == ("people.csv", "income", "photos")
    assert (simulated.problem.d, simulated.simulation.lr, trained.classes) == (400, 0.3, (3, 8))
    assert (swept.problem.m, swept.cells) == (5, 28)


def test_public_names_have_docstrings():
    for path in (ROOT / "src/labelnoise").rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path.name
        for node in tree.body:
            overload = any(ast.unparse(decorator) == "overload" for decorator in getattr(node, "decorator_list", ()))
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not overload:
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_the_version_stands_in_one_place():
    import importlib.metadata

    assert importlib.metadata.version("labelnoise") == labelnoise.__version__
    assert labelnoise.__version__ not in (ROOT / "pyproject.toml").read_text()


def test_the_package_ships_its_template_and_its_types():
    for name in ("py.typed", "__init__.pyi", "theory/__init__.pyi", "report/report.html.j2"):
        assert (Path(labelnoise.__file__).parent / name).is_file()


def test_the_shapes_in_public_signatures_can_be_evaluated():
    """They are read by people and by type checkers only, so nothing else would see a misspelt one."""
    import typing

    import jaxtyping
    import numpy.typing

    names = {**vars(jaxtyping), "ArrayLike": numpy.typing.ArrayLike, "Values": typing.Any}
    seen = 0
    for name in labelnoise.__all__:
        public = getattr(labelnoise, name)
        for item in (public, *(vars(public).values() if isinstance(public, type) else ())):
            if callable(item) and getattr(item, "__module__", "").startswith("labelnoise."):
                known = {**names, **vars(sys.modules[item.__module__])}
                for annotation in getattr(item, "__annotations__", {}).values():
                    if isinstance(annotation, str) and "[np.ndarray" in annotation:
                        seen += 1
                        assert "np.ndarray" not in repr(eval(annotation, known))
    assert seen > 40
