"""`labelnoise train --stop`: its folder, its summary and its page say what the average is worth."""

import numpy as np
import pytest
import torch

from labelnoise.cli import main
from labelnoise.images.data import load_data
from labelnoise.report.page import write_report
from labelnoise.runs.files import digest_file, read_json
from labelnoise.runs.reading import read_run
from labelnoise.training.checkpoints import kept_epochs
from labelnoise.training.experiment import TrainRun

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = "train --classes 3 8 --noise symmetric:0.3 --epochs 30 --patience 5 --device cpu --model small-cnn --lr 0.05"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    torch.set_num_threads(1)
    assert main([*WORDS.split(), "--stop", "--out", str(folder)]) == 0
    return folder


def row(folder, rule):
    return next(entry for entry in read_run(folder).summary["stops"] if entry["rule"] == rule)


def test_the_summary_holds_the_average_beside_the_single_epoch_and_the_last(stopped):
    run, rule, averaged, last = read_run(stopped), *(row(stopped, name) for name in ("rule", "averaged", "last"))
    history = run.history.set_index("epoch")
    assert [entry["rule"] for entry in run.summary["stops"]] == ["oracle", "held_out", "rule", "averaged", "last"]
    assert rule["test_accuracy"] == pytest.approx(history["test_accuracy"][rule["at"]])
    assert rule["ended"] == last["at"] == len(history) < 30 and averaged["at"] == rule["at"]
    assert averaged["first_epoch"] == rule["at"] - 2 and averaged["last_epoch"] == last["at"]  # five later
    assert averaged["gain_test_accuracy"] == pytest.approx(averaged["test_accuracy"] - last["test_accuracy"])
    assert averaged["last_epoch"] - averaged["first_epoch"] > 4 and rule["at"] in kept_epochs(stopped)


def test_the_weights_of_the_average_are_worth_what_the_summary_says(stopped):
    run = TrainRun(classes=(3, 8), noise="symmetric:0.3", weights=str(stopped / "checkpoints/averaged.pt"))
    data = load_data("digits", classes=(3, 8))
    model, images = run.build(run.load()).eval(), data.on("cpu")
    with torch.no_grad():
        right = model(images.normalise(images.x_test)).argmax(1) == images.y_test
    assert float(right.float().mean()) == pytest.approx(row(stopped, "averaged")["test_accuracy"])


def test_the_average_is_among_the_checksums(stopped):
    known = read_json(stopped / "checksums.json")["checkpoints/averaged.pt"]
    assert known == digest_file(stopped / "checkpoints/averaged.pt")


@pytest.mark.usefixtures("sketched")
def test_the_page_shows_the_average(stopped):
    page = write_report(stopped).read_text()
    averaged = row(stopped, "averaged")
    assert "held-out stop (best held-out accuracy, given labels only)" in page
    assert "the stop (chosen by the rule of --stop, given labels only)" in page
    assert "looked up in every run after it is over" in page and "the epoch that its own rule chose" in page
    assert "average around the stop" in page and f"{averaged['test_accuracy']:.3f}" in page
    assert f"the average of the weights of epochs {averaged['first_epoch']} to {averaged['last_epoch']}" in page
    assert f"{averaged['test_accuracy']:.1%} → {row(stopped, 'last')['test_accuracy']:.1%}" in page


@pytest.mark.usefixtures("sketched")
def test_the_page_of_a_run_of_all_epochs_knows_no_average(tmp_path):
    assert main([*WORDS.replace("--epochs 30", "--epochs 2").split(), "--out", str(tmp_path / "run")]) == 0
    assert "average around the stop" not in write_report(tmp_path / "run").read_text()
    assert not (tmp_path / "run/checkpoints/averaged.pt").exists()


@pytest.mark.parametrize("rule", ["accuracy", "label-wave", "median"])
def test_rules_by_their_words(tmp_path, rule):
    words = [*WORDS.split(), "--stop", "--stop-rule", rule, "--average", "1", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    rows = {entry["rule"]: entry for entry in read_run(tmp_path / "run").summary["stops"]}
    assert rows["averaged"]["first_epoch"] == rows["averaged"]["last_epoch"] == rows["rule"]["at"]
    assert np.isclose(rows["averaged"]["test_accuracy"], rows["rule"]["test_accuracy"])


def test_all_up_to_the_choice_by_its_word(tmp_path):
    words = [
        *WORDS.split(),
        "--stop",
        "--stop-rule",
        "running-mean",
        "--average",
        "all",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(words) == 0
    run = read_run(tmp_path / "run")
    rows = {entry["rule"]: entry for entry in run.summary["stops"]}
    assert run.settings["average"] == "all" and main(words) == 0
    assert (rows["averaged"]["first_epoch"], rows["averaged"]["last_epoch"]) == (1, rows["rule"]["at"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--stop --held-out 0", "`stop` needs held-out images, got none"),
        ("--stop --average 2", "`average` must be odd, as many records before as after, got 2"),
        ("--stop --average al", "`average` must be a whole number or one of onward, all, got 'al'"),
        ("--stop --average all", "`average` all goes with the stop rule running-mean, got 'loss'"),
        ("--stop --stop-rule los", "did you mean 'loss'"),
    ],
)
def test_what_cannot_stop_is_refused(tmp_path, capsys, words, message):
    assert main([*WORDS.split(), *words.split(), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "run").exists()
