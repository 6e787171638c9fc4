"""The wheel in fresh environments without any extra: with the versions tested here, and with the oldest supported.

Slow: each environment is made by pip.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OLDEST = [f"{name}=={version}.*" for name, version in (line.split(">=") for line in PROJECT["dependencies"])]
TINY = "--n 20 --d 300 --m 2 --mu-norm 8 --lr 0.05 --steps 40 --test-draws 20 --seeds 0 1 --n-holdout 10".split()
WITHOUT_EXTRAS = ("", "noise", "runs", "record", "theory", "reproduce")
"""Rooms that promise to need no extra, but for their modules that draw and the compiled kernels."""

NEEDY = ("figures", "page", "kernels", "products", "compiled_numbers")
"""Those modules."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (path,) = folder.glob("*.whl")
    return path


def run(*words, cwd):
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("pins", [["-c", str(ROOT / "constraints.txt")], OLDEST], ids=["tested", "oldest"])
def test_the_model_world_needs_no_extra(wheel, pins, tmp_path):
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python = tmp_path / "env/bin/python"
    run(python, "-m", "pip", "install", "--quiet", wheel, *pins, cwd=tmp_path)
    rooms = [ROOT / "src/labelnoise" / room for room in WITHOUT_EXTRAS]
    modules = [path for room in rooms for path in room.glob("*.py") if path.stem not in NEEDY]
    modules += [ROOT / "src/labelnoise" / room / "experiment.py" for room in ("training", "sweeps")]
    names = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in modules]
    names = [name.removesuffix(".__init__") for name in names]
    assert len(names) > 40
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {names!r}]; print('torch' in sys.modules)"
    )
    assert run(python, "-c", code, cwd=tmp_path) == "False\n"
    labelnoise = tmp_path / "env/bin/labelnoise"
    assert "simulate" in run(labelnoise, "--help", cwd=tmp_path)
    assert "--mu-norm" in run(labelnoise, "simulate", "--help", cwd=tmp_path)
    for words in ("run: a (ok)", "already holds this run"):
        assert words in run(labelnoise, "simulate", *TINY, "--out", "a", cwd=tmp_path)
    refused = subprocess.run([labelnoise, "report", "a"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and re.search(r"needs \w+; pip install 'labelnoise\[report\]'", refused.stderr)
    refused = subprocess.run([labelnoise, "sweep", "--out", "c"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and re.search(r"needs \w+; pip install 'labelnoise\[sweep\]'", refused.stderr)
    refused = subprocess.run([labelnoise, "train", "--out", "b"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2 and "pip install 'labelnoise[train]'" in refused.stderr
