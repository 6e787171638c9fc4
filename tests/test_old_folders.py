"""A folder that the version before the rooms wrote is read, reported and reused.

The perturbed test errors of new runs differ: their patches come from a stream of their own since.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.networks import build_model
from labelnoise.report.page import write_report
from labelnoise.reproduce import experiment as module
from labelnoise.reproduce.experiment import Reproduce, run_reproduce
from labelnoise.reproduce.plan import SectionPlan, Setting
from labelnoise.runs.files import read_json, write_json
from labelnoise.runs.folders import default_path, run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training.checkpoints import read_state, write_state
from labelnoise.training.config import ExplainConfig, TrainConfig
from labelnoise.training.experiment import KIND, TrainRun
from labelnoise.training.explain import explain_run
from labelnoise.training.loop import fit

FOLDER = Path(__file__).parent / "data/version-0/reproduce"
SIMULATE = SimulateRun(
    SignalNoise(n=20, d=300, m=2, mu_norm=8.0), SimulateConfig(lr=0.05, steps=40, test_draws=20), (0, 1), n_holdout=10
)
TRAIN = TrainRun(classes=(3, 8), per_class=20, training=TrainConfig(epochs=1, device="cpu"))
EXPLAIN = ExplainConfig(
    method="expected-gradients", clean=2, noisy=2, background=5, reference=2, nsamples=5, device="cpu"
)

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def old(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "runs/reproduce-0123456789")


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize(("name", "config", "rounding"), [("simulate", SIMULATE, 1e-12), ("train", TRAIN, 1e-6)])
def test_a_run_is_read_reused_and_made_again_to_the_same_numbers(old, tmp_path, name, config, rounding):
    """To the rounding of float64, and of float32 where torch trains: other processors sum in another order."""
    assert read_run(old / name).config == config and "Schedule" not in str(read_run(old / name).settings)
    before = contents(old / name)
    assert run_experiment(config, old / name).reused and contents(old / name) == before
    with pytest.raises(InputError, match="holds another one"):
        run_experiment(SimulateRun(seeds=(5,)) if name == "simulate" else TrainRun(data="mnist"), old / name)
    run_experiment(config, tmp_path / "new")
    with np.load(tmp_path / "new/samples.npz") as made, np.load(old / name / "samples.npz") as held:
        assert made.files == held.files
        for array in made.files:
            np.testing.assert_allclose(made[array], held[array], rtol=0, atol=rounding, err_msg=array)
    new, before_run = read_run(tmp_path / "new"), read_run(old / name)
    moved = [column for column in new.history if "perturbed" in column or "seconds" in column]
    kept = (run.history.drop(columns=moved) for run in (new, before_run))
    pd.testing.assert_frame_equal(*kept, rtol=rounding)  # another engine: equal to rounding
    for part in ("noise", "stages"):
        assert new.summary.get(part) == before_run.summary.get(part)
    verdict = {"reason", "falls", "fall", "fall_error", "paired"}  # of the held-out rule, by the samples since
    for row, old_row in zip(new.summary["stops"], before_run.summary["stops"], strict=True):
        left_out = {name for name in row if "perturbed" in name} | (verdict if row["rule"] == "held_out" else set())
        assert set(old_row) == set(row) - {"fall", "fall_error", "paired"}
        kept, held = ({k: v for k, v in part.items() if k not in left_out} for part in (row, old_row))
        numbers = [name for name, value in held.items() if isinstance(value, float)]
        assert [kept.pop(name) for name in numbers] == pytest.approx([held.pop(name) for name in numbers], rel=rounding)
        assert kept == held


def test_a_default_folder_is_found_again_whatever_its_hash(old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(old / "simulate", tmp_path / "runs/simulate-feedc0ffee")
    assert default_path(SIMULATE) == Path("runs/simulate-feedc0ffee")
    assert default_path(Reproduce(quick=True)) == Path("runs/reproduce-0123456789")


def test_the_pages_of_old_runs(old):
    for path in (old, old / "simulate", old / "train"):
        page = write_report(path).read_text()
        assert "Where to stop" in page and "made with" in page.lower()
    assert "not applicable" in (old / "simulate/report.html").read_text()  # the verdicts that were written then
    assert {file.stem for file in (old / "figures").glob("*.png")} == {
        "synthetic-curves", "digits-curves", "digits-margins", "digits-attribution", "digits-similarity"
    }  # fmt: skip


def test_the_verdict_of_an_old_run_is_judged_by_its_samples_or_says_that_it_was_not(old):
    """Samples of a training run are in its folder, those that a simulation held out are not."""
    train, simulate = (write_report(old / name).read_text() for name in ("train", "simulate"))
    compared = "two accuracies were compared"
    assert "within two standard errors (0.310) of 10 samples" in simulate and compared in simulate
    assert "within two paired standard errors (0.500) of 4 samples" in train and compared not in train


def test_an_old_training_run_is_explained(old):
    attribution = explain_run(old / "train", EXPLAIN)
    assert attribution.epoch.tolist() == [1]


def test_the_main_job_goes_through_an_old_folder_without_running_anything_again(old, monkeypatch):
    sections = (
        SectionPlan("synthetic", "The model", "Look.", (Setting("s", {"simulate": SIMULATE}),)),
        SectionPlan("digits", "Digits", "Look.", (Setting("s", {"train": TRAIN}),), explained={"train": EXPLAIN}),
    )
    monkeypatch.setattr(module, "plan_sections", lambda quick: sections)
    before = {name: contents(old / name)["samples.npz"] for name in ("simulate", "train")}
    outcome = run_reproduce(Reproduce(quick=True), old)
    assert outcome.reused and outcome.page.is_file()
    assert {name: contents(old / name)["samples.npz"] for name in before} == before


def test_an_interrupted_training_goes_on_though_its_version_lacked_a_setting(tmp_path):
    data = load_data("digits", classes=(3, 8), per_class=20)
    config = TrainConfig(epochs=2, checkpoint_every=1, device="cpu")

    def train(settings):
        model = build_model("small-cnn", n_classes=2, in_channels=1, image_size=(8, 8))
        return fit(model, data, settings, folder=tmp_path).recorder.margin

    whole = train(config)
    state = read_state(tmp_path)
    del state["settings"]["augment"]
    write_state(tmp_path, state)
    assert (train(config) == whole).all()
    with pytest.raises(InputError, match="must hold checkpoints of this run, but lr is 0.02 there, 0.1 now"):
        train(replace(config, lr=0.1))


@pytest.mark.parametrize(
    ("settings", "config"),
    [
        ({"average": 5}, TRAIN),
        ({"stop": True}, replace(TRAIN, stop=True, average=5)),
        ({"stop": True, "average": 3}, replace(TRAIN, stop=True, average=3)),
    ],
)
def test_the_average_was_of_five_where_a_training_was_stopped_and_means_nothing_elsewhere(old, settings, config):
    written = read_json(old / "train/config.json")
    write_json(old / "train/config.json", {**written, "settings": {**written["settings"], **settings}})
    assert read_run(old / "train").config == config and run_experiment(config, old / "train").reused
    if config.stop:
        with pytest.raises(InputError, match=f"average is {config.average} there, 'onward' now"):
            run_experiment(replace(config, average="onward"), old / "train")


def test_an_average_that_was_written_since_is_left_as_it_is():
    for stop in (False, True):
        assert KIND.upgrade({"stop": stop, "average": 5}, 2) == {"stop": stop, "average": 5}
        assert KIND.upgrade({"stop": stop, "average": 5}, 1)["average"] == (5 if stop else "onward")


def test_a_folder_of_a_newer_version_is_refused(old):
    write_json(old / "train/config.json", {**read_json(old / "train/config.json"), "schema": 99})
    for work in (read_run, lambda path: run_experiment(TRAIN, path)):
        with pytest.raises(InputError, match="made by a newer labelnoise .schema 99 .*; upgrade labelnoise"):
            work(old / "train")


def test_a_folder_with_a_setting_that_is_gone_says_which(old):
    config = json.loads((old / "train/config.json").read_text())
    config["settings"]["training"]["beta"] = 1
    (old / "train/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="of another version: TrainConfig has no setting 'beta'"):
        run_experiment(TRAIN, old / "train")
