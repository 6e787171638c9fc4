"""Experiments: what a run directory holds, that it is reused, refused, and the same twice."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import assert_close
from labelnoise.audit.experiment import AuditRun
from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.networks import build_model
from labelnoise.noise.models import Symmetric
from labelnoise.record.stopping import HeldOut
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training import checkpoints
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.log import COLUMNS
from labelnoise.training.loop import fit

TWO = (3, 8)
SMALL = SimulateRun(
    problem=SignalNoise(n=60, d=1_200, m=4, mu_norm=16.0), simulation=SimulateConfig(lr=0.01, steps=300, test_draws=50),
    seeds=(0, 1), n_holdout=40,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def short(**settings):
    return TrainConfig(**{"epochs": 3, "device": "cpu", **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "`threads` must be"),
        ({"model": "smal-cnn"}, "did you mean 'small-cnn'"),
        ({"noise": "symetric:0.2"}, "did you mean 'symmetric'"),
    ],
)
def test_bad_run_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainRun(**settings)


def train_in(folder, **settings):
    config = TrainRun(**{"classes": TWO, "training": short(epochs=4), **settings})
    outcome = run_experiment(config, folder)
    assert outcome.path == folder and not outcome.reused
    return outcome.status, read_run(folder)


def stops_of(run, seed=0):
    return {row["rule"]: row for row in run.summary["stops"] if row["seed"] == seed}


@pytest.mark.slow
def test_a_training_directory_holds_the_run(tmp_path):
    threads = torch.get_num_threads()
    status, run = train_in(tmp_path / "a", threads=2, per_class=60)
    assert torch.get_num_threads() == threads
    data = load_data("digits", classes=TWO, label_noise=Symmetric(0.2), per_class=60)
    log = fit(build_model("small-cnn", n_classes=2, in_channels=1), data, short(epochs=4))
    assert status == run.summary["status"] == "ok"
    assert tuple(run.history.columns) == COLUMNS and len(run.history) == 4
    assert run.samples["margin"].dtype == np.float32
    assert_close(run.samples["margin"], log.recorder.margin, rtol=1e-3, atol=1e-4)  # two threads there, one here
    for name in ("y_true", "y_given", "index"):
        assert_close(run.samples[name], getattr(data, name))
    assert_close(run.samples["held_out"], log.held_out)
    assert_close(run.samples["epoch"], np.arange(1, 5))
    for name, expected in (("loss", log.recorder.loss), ("prediction", log.recorder.prediction)):
        assert_close(run.samples[name].astype(float), expected.astype(float), rtol=2e-3, atol=1e-3)
    margin_train = run.samples["margin_train"]
    assert margin_train.shape == (4, len(data.y_given)) and (np.isnan(margin_train) == log.held_out).all()
    assert_close(margin_train[:, ~log.held_out], log.batches.margin[:, ~log.held_out], rtol=1e-3, atol=1e-3)
    assert run.summary["precision"] == "float32"
    kept = sorted({4, *(row["at"] for row in run.summary["stops"])})
    assert run.summary["checkpoints"] == checkpoints.kept_epochs(tmp_path / "a") == kept
    assert not (tmp_path / "a/checkpoints/state.pt").exists()
    n = len(data.y_given)
    sizes = {"train": n, "held_out": round(n / 10), "test": len(data.y_test), "image": [1, 8, 8], "outputs": 2}
    assert run.summary["sizes"] == sizes and run.summary["classes"] == [3, 8]
    assert run.summary["noise"]["count"] == data.noisy.sum() and run.summary["noise"]["text"] == str(data.noise)


@pytest.mark.slow
def test_training_stops_say_what_they_gain(tmp_path):
    _, run = train_in(tmp_path / "a", noise="symmetric:0.4", training=short(epochs=40, lr=0.05))
    stops, table = stops_of(run), run.history.set_index("epoch")
    assert set(stops) == {"oracle", "held_out", "last"}
    assert (stops["last"]["at"], stops["last"]["gain_test_accuracy"]) == (40, 0)
    assert stops["oracle"]["at"] == (table["train_accuracy_clean"] - table["train_accuracy_noisy"]).idxmax() < 40
    series = (table[f"held_out_{name}"].to_numpy() for name in ("accuracy", "loss"))
    fitted = run.samples["margin"][:, run.samples["held_out"]] > 0
    rule = HeldOut(run.summary["sizes"]["held_out"])(*series, fitted)
    assert stops["held_out"]["at"] == rule.chosen + 1
    assert stops["held_out"]["ended"] == (None if rule.stopped is None else rule.stopped + 1)
    assert (stops["held_out"]["reason"], stops["held_out"]["falls"]) == (rule.reason, rule.falls)
    for stop in stops.values():
        row = table.loc[stop["at"]]
        gain = row["test_accuracy"] - table["test_accuracy"].iloc[-1]
        assert stop["gain_test_accuracy"] == pytest.approx(gain, abs=1e-12)
        for name in ("test_accuracy", "train_accuracy_clean", "train_accuracy_noisy", "selection_recall"):
            assert stop[name] == pytest.approx(row[name])


def test_the_same_config_writes_the_same_bytes(tmp_path):
    for name in "ab":
        train_in(tmp_path / "train" / name)
        run_experiment(SMALL, tmp_path / "simulate" / name)
    for command in ("train", "simulate"):
        for file in ("summary.json", "config.json", "samples.npz"):
            one, other = ((tmp_path / command / name / file).read_bytes() for name in "ab")
            assert one == other, (command, file)
    assert (tmp_path / "simulate/a/history.csv").read_bytes() == (tmp_path / "simulate/b/history.csv").read_bytes()


def test_stops_without_noise_or_held_out_images(tmp_path):
    _, run = train_in(tmp_path / "a", noise="none", training=short(held_out=0.0))
    stops = stops_of(run)
    assert stops["oracle"]["at"] is None and stops["oracle"]["reason"] == "there are no noisy samples"
    assert "held_out" not in stops and stops["last"]["at"] == 3


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_run_that_diverges_is_kept_and_says_so(tmp_path):
    status, run = train_in(tmp_path / "a", training=short(lr=1e20))
    assert "the loss is not finite at epoch 1" in status and status == run.summary["status"]
    assert len(run.history) == 0 and run.samples["margin"].shape[0] == 0 and run.summary["stops"] == []
    json.dumps(run.summary, allow_nan=False)


def test_a_simulation_directory_holds_the_run(tmp_path):
    outcome = run_experiment(SMALL, tmp_path / "a")
    run = read_run(outcome.path)
    assert outcome.status == "ok" and run.command == "simulate"
    assert run.history["seed"].unique().tolist() == [0, 1] and len(run.history) == 2 * 31
    draw = SMALL.problem.sample(seed=1, n_holdout=40)
    assert run.samples["margin"].shape == (2, 31, 60) and (run.samples["y_given"][1] == draw.y_given).all()
    last = run.history[run.history["seed"] == 1].iloc[-1]
    noisy = draw.noisy
    assert last["accuracy_noisy"] == (run.samples["margin"][1, -1, noisy] > 0).mean()
    assert [stage["seed"] for stage in run.summary["stages"]] == [0, 1]
    assert {check["claim"] for check in run.summary["checks"]} >= {"Thm 4.1, stages", "Lemma 5.1"}
    for seed in (0, 1):
        stops = stops_of(run, seed)
        assert stops["oracle"]["at"] == run.summary["stages"][seed]["t1"] and stops["last"]["at"] == 300
        gain = stops["last"]["test_error_seen"] - stops["oracle"]["test_error_seen"]
        assert stops["oracle"]["gain_test_error_seen"] == pytest.approx(gain) and gain > 0


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_single_sample_has_an_axis_in_every_array(tmp_path, seeds):
    one = SimulateRun(SignalNoise(n=1, d=3, m=1), SimulateConfig(steps=1, test_draws=0), seeds, n_holdout=0)
    samples = read_run(run_experiment(one, tmp_path / "a").path).samples
    for name in ("y_true", "y_given"):
        assert samples[name].shape == (() if len(seeds) == 1 else (2,)) + (1,), name


def test_a_finished_run_is_reused_and_another_config_refused(tmp_path):
    first = run_experiment(SMALL, tmp_path / "a")
    written = (tmp_path / "a/history.csv").stat().st_mtime_ns
    again = run_experiment(SMALL, tmp_path / "a")
    assert (first.reused, again.reused, again.status) == (False, True, "ok")
    other = SimulateRun(problem=SMALL.problem, simulation=SMALL.simulation, seeds=(0, 2), n_holdout=40)
    with pytest.raises(InputError, match=r"seeds is \[0, 1\] there, \[0, 2\] now"):
        run_experiment(other, tmp_path / "a")
    assert (tmp_path / "a/history.csv").stat().st_mtime_ns == written
    assert not run_experiment(other, tmp_path / "a", overwrite=True).reused
    assert read_run(tmp_path / "a").settings["seeds"] == [0, 2]


def test_an_unfinished_run_starts_again_to_the_same_result(tmp_path):
    run_experiment(SMALL, tmp_path / "a")
    whole = (tmp_path / "a/summary.json").read_bytes()
    (tmp_path / "a/summary.json").unlink()
    assert not run_experiment(SMALL, tmp_path / "a").reused
    assert (tmp_path / "a/summary.json").read_bytes() == whole


def test_refused_input_leaves_no_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        run_experiment(TrainRun(data="nowhere.npz"), tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"seeds": ()}, "`seeds` must be"), ({"seeds": (1, 1)}, "`seeds` must be"), ({"seeds": (-1,)}, "`seed` must be"),
     ({"n_holdout": -1}, "`n_holdout` must be")],
)  # fmt: skip
def test_bad_simulation_settings_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        SimulateRun(**settings)


@pytest.mark.parametrize("settings", [{"device": "nowhere"}, {"device": "cuda:77"}])
def test_a_refused_run_leaves_the_old_one_alone(settings, tmp_path):
    train_in(tmp_path / "a")
    before = {file.name: file.read_bytes() for file in (tmp_path / "a").rglob("*.*")}
    with pytest.raises(InputError, match="`device` must be a torch device"):
        run_experiment(TrainRun(training=TrainConfig(epochs=1, **settings)), tmp_path / "a", overwrite=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "a").rglob("*.*")} == before


def test_the_summary_names_the_perturbation_that_was_used(tmp_path):
    run_experiment(SMALL, tmp_path / "a")
    assert read_run(tmp_path / "a").summary["zeta_std"] == 0.5


def write_data(path, seed):
    rng = np.random.default_rng(seed)
    images = {f"x_{part}": rng.integers(0, 256, (n, 8, 8), dtype=np.uint8) for part, n in (("train", 120), ("test", 6))}
    np.savez(path, **images, y_train=np.arange(120) % 2, y_test=np.arange(6) % 2)


def test_a_run_whose_input_changed_since_is_not_reused(tmp_path):
    """Same settings, other content: of the data, of the given labels, of the weights to start from."""
    data, labels, weights = tmp_path / "my.npz", tmp_path / "labels.txt", tmp_path / "weights.pt"
    write_data(data, 0)
    labels.write_text("\n".join(["1", "0", *map(str, np.arange(2, 120) % 2)]))
    start = TrainRun(data=str(data), training=short(epochs=1))
    run_experiment(start, tmp_path / "start")
    shutil.copy(tmp_path / "start/checkpoints/epoch-0001.pt", weights)
    config = replace(start, noise=f"file:{labels}", weights=str(weights))
    run_experiment(config, tmp_path / "a")
    assert run_experiment(config, tmp_path / "a").reused

    kept = {path: path.read_bytes() for path in (data, labels, weights)}
    other = tmp_path / "other"
    run_experiment(replace(start, training=short(epochs=1, seed=1)), other)
    changes = {
        "data": lambda: write_data(data, 1),
        "noise": lambda: labels.write_text("\n".join(["0", "1", "1", "0", *map(str, np.arange(4, 120) % 2)])),
        "weights": lambda: shutil.copy(other / "checkpoints/epoch-0001.pt", weights),
    }
    for name, change in changes.items():
        change()
        with pytest.raises(InputError, match=f"of the same settings, but what `{name}` names has changed since"):
            run_experiment(config, tmp_path / "a")
        for path, content in kept.items():
            path.write_bytes(content)
        assert run_experiment(config, tmp_path / "a").reused
    data.unlink()  # what is gone cannot be told from what it was
    assert run_experiment(config, tmp_path / "a").reused


def test_a_folder_of_images_is_an_input_too(tmp_path):
    for half in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / "pets" / half / name).mkdir(parents=True)
            for at in range(4):
                Image.fromarray(np.full((8, 8), 9 * at, np.uint8)).save(tmp_path / "pets" / half / name / f"{at}.png")
    config = TrainRun(data=str(tmp_path / "pets"), training=short(epochs=1))
    (tmp_path / "pets/train/ant/0.png").rename(tmp_path / "pets/train/ant/0\udcff.png")  # a byte that is no UTF-8
    run_experiment(config, tmp_path / "a")
    (tmp_path / "pets/train/ant/.DS_Store").write_text("a Mac has shown the folder")
    assert run_experiment(config, tmp_path / "a").reused
    (tmp_path / "pets/train/ant/1.png").rename(tmp_path / "pets/train/ant/9.png")
    with pytest.raises(InputError, match="what `data` names has changed since"):
        run_experiment(config, tmp_path / "a")


def test_a_run_as_input_is_what_it_was_made_for_and_neither_its_page_nor_its_checkpoints(tmp_path):
    config = AuditRun(data=str(tmp_path / "run"))
    run_experiment(TrainRun(training=short(epochs=1, checkpoint_every=1)), tmp_path / "run")
    run_experiment(config, tmp_path / "a")
    (tmp_path / "run/report.html").write_text("a page")
    (tmp_path / "run/checkpoints/epoch-0001.pt").unlink()
    assert run_experiment(config, tmp_path / "a").reused
    run_experiment(TrainRun(training=short(epochs=1, seed=1)), tmp_path / "run", overwrite=True)
    with pytest.raises(InputError, match="what `data` names has changed since"):
        run_experiment(config, tmp_path / "a")
