"""Each file under experiments/ is read as it stands, and runs at a tiny size."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labelnoise.cli import Output, main
from labelnoise.runs.flags import parse_flags
from labelnoise.runs.places import read_settings
from labelnoise.runs.reading import read_run
from labelnoise.sweeps.execution import Execution
from labelnoise.sweeps.experiment import SweepRun, sweep
from labelnoise.training.experiment import TrainRun

EXPERIMENTS = sorted((Path(__file__).parent.parent / "experiments").glob("*.toml"))
SWEEPS = [file for file in EXPERIMENTS if "grid" in tomllib.loads(file.read_text())]
FILES = [file for file in EXPERIMENTS if file not in SWEEPS]


def settings(file):
    _, (config, _) = parse_flags("labelnoise train", "", ["--config", str(file)], [TrainRun, Output])
    return config


def test_the_files_are_there():
    assert [file.stem for file in FILES] == [
        "pair-asymmetric", "pair-cat-dog", "pair-clean", "pair-noise-0.1", "pair-noise-0.2", "pair-noise-0.3",
        "pair-noise-0.4", "pair-resnet18", "ten-classes",
    ]  # fmt: skip
    assert [file.stem for file in SWEEPS] == [
        "benign_overfitting", "map-dimension-init", "map-errors", "map-label-noise-gd", "map-selection", "map-snr-tau",
        "map-times",
    ]  # fmt: skip


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_a_map_can_be_planned(file):
    config, _ = read_settings(file, (SweepRun, Execution))
    plan = config.plan()
    assert plan.runs == config.cells * config.seeds and config.variables
    assert set(config.variables) <= {*plan.wanted}


def test_the_map_of_benign_overfitting_is_that_of_the_released_script(tmp_path):
    config, _ = read_settings(SWEEPS[0], (SweepRun, Execution))
    assert (config.cells, config.seeds, config.simulation.steps) == (10_000, 10, 100)
    cell = replace(config, grid=("d=100", "mu_norm=1", "init_scale=0.57735026919"), seeds=60)
    errors = sweep(cell, tmp_path / "cell", workers=1).test_error_given_fresh
    assert errors.mean() == pytest.approx(0.3527, abs=0.02)  # over 400 runs elsewhere; four standard errors of 60 runs


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_what_its_name_says(file):
    config = settings(file)
    assert config.data == "cifar10" and config.outputs == 10
    assert config.model == ("resnet18" if "resnet18" in file.stem else "vgg11")
    assert config.classes == {"ten": tuple(range(10)), "cat": (3, 5)}.get(
        next((word for word in ("ten", "cat") if word in file.stem), ""), (0, 1)
    )
    if "noise-" in file.stem:
        assert config.noise == f"symmetric:{file.stem.rpartition('-')[2]}:exact"
    assert (config.noise == "none") == ("clean" in file.stem)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Ten classes of 32 x 32 colour images; five of each to train on."""
    rng = np.random.default_rng(5)
    content = {}
    for part, each in (("train", 5), ("test", 2)):
        content[f"y_{part}"] = np.repeat(np.arange(10), each)[::-1]
        content[f"x_{part}"] = rng.integers(0, 256, (10 * each, 3, 32, 32), dtype=np.uint8)
    path = tmp_path_factory.mktemp("tiny") / "tiny.npz"
    np.savez(path, **content)
    return path


QUICK = ("pair-resnet18",)
"""The others train the larger network; each differs from another file by a value."""


@pytest.mark.parametrize(
    "file", [pytest.param(file, marks=() if file.stem in QUICK else pytest.mark.slow, id=file.stem) for file in FILES]
)
def test_a_file_runs(file, tiny, tmp_path):
    small = ["--data", str(tiny), "--epochs", "1", "--batch-size", "8", "--precision", "float32", "--device", "cpu"]
    assert main(["train", "--config", str(file), *small, "--out", str(tmp_path / "run")]) == 0
    run, config = read_run(tmp_path / "run"), settings(file)
    assert run.settings["model"] == config.model and run.summary["classes"] == list(config.classes)
    assert run.summary["sizes"]["outputs"] == 10 and len(run.history) == 1
    rate = 0.0 if config.noise == "none" else run.summary["noise"]["rate"]
    assert (rate > 0) == (config.noise != "none")
    assert list((tmp_path / "run/checkpoints").glob("epoch-0001.pt"))
    shutil.rmtree(tmp_path / "run")  # its weights are large
