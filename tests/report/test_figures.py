"""The figures of a training run show the numbers of its folder, each at its epoch."""

import numpy as np
import pandas as pd
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.report.page import write_report
from labelnoise.runs.folders import RunFolder
from labelnoise.runs.pages import panel_of
from labelnoise.runs.reading import read_run
from labelnoise.training.figures import margins_figure, training_figure

EPOCHS = np.array([1, 4, 7, 20])
SHARES = (
    "train_accuracy", "train_accuracy_clean", "train_accuracy_noisy", "test_accuracy", "held_out_accuracy",
    "selection_precision", "selection_recall", "selection_f1",
)  # fmt: skip


def craft(path, seed=0, change=lambda history, samples: None, falls=True):
    """Write the folder of a training run of 40 samples, 6 of them held out, in 4 records."""
    rng = np.random.default_rng(seed)
    history = pd.DataFrame({"epoch": EPOCHS, "train_loss": rng.random(4) + 1, "test_loss": rng.random(4) + 2})
    history = history.assign(**{name: rng.random(4) for name in SHARES})
    history["selection_recall"] = [0.9, 0.8, 0.05, 0.3]
    y_true = rng.integers(0, 3, 40)
    noisy = rng.permutation(40) < 15
    samples = {
        "epoch": EPOCHS,
        "margin": (rng.normal(size=(4, 40)) * [[1], [5], [30], [200]]).astype(np.float32),
        "y_true": y_true,
        "y_given": (y_true + noisy) % 3,
        "held_out": rng.permutation(40) < 6,
    }
    change(history, samples)
    reasons = ((7, "oracle"), (4 + 16 * seed, "held_out"), (20, "last"))
    stops = [{"rule": rule, "seed": seed, "at": at, "reason": "because"} for at, rule in reasons]
    stops[1].update(falls=falls, fall=0.1, fall_error=0.02, paired=True)
    for stop in stops:
        stop.update(history.set_index("epoch").loc[stop["at"]].to_dict(), gain_test_accuracy=0.0)
    config = {"command": "train", "settings": {"training": {"seed": seed}}, "versions": {}, "git_commit": None}
    folder = RunFolder(path, False, config)
    folder.begin()
    folder.write_history(history)
    folder.write_samples(**samples)
    folder.finish({"status": "ok", "classes": [0, 1, 2], "noise": {"rate": noisy.mean()}, "stops": stops})
    return panel_of(path.name, [read_run(path)])


def line(axis, label):
    """The one line whose name begins with `label`, as x and y."""
    (found,) = [line for line in axis.lines if line.get_label().startswith(label)]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata(), dtype=float)


def names(axis):
    return [line.get_label().split("\n")[0] for line in axis.lines if not line.get_label().startswith("_")]


def band(collection):
    """Lowest and highest y of a filled band at each x."""
    x, y = collection.get_paths()[0].vertices.T
    return [(y[x == at].min(), y[x == at].max()) for at in np.unique(x)]


def marks(axis):
    return {line.get_xdata()[0] for line in axis.lines if len(line.get_xdata()) == 2}


def test_every_curve_is_a_column_of_the_history_at_its_epochs(tmp_path):
    column = craft(tmp_path / "a")
    loss, accuracy, share = training_figure([column]).axes
    drawn = {
        (loss, "training samples"): "train_loss",
        (loss, "test samples"): "test_loss",
        (accuracy, "training samples"): "train_accuracy",
        (accuracy, "clean samples"): "train_accuracy_clean",
        (accuracy, "noisy samples"): "train_accuracy_noisy",
        (accuracy, "test samples"): "test_accuracy",
        (share, "held-out accuracy"): "held_out_accuracy",
        (share, "suspects: recall"): "selection_recall",
    }
    for (axis, label), name in drawn.items():
        x, y = line(axis, label)
        assert x.tolist() == [1, 4, 7, 20]
        assert_close(y, column.history[name].to_numpy())
    _, precision = line(share, "suspects: precision")
    expected = column.history["selection_precision"].to_numpy()
    assert np.isnan(precision[2])  # recall 0.05
    assert_close(precision[[0, 1, 3]], expected[[0, 1, 3]])


def test_several_seeds_give_their_mean_and_range(tmp_path):
    runs = [craft(tmp_path / str(seed), seed).runs[0] for seed in (0, 1)]
    axis = training_figure([panel_of("both", runs)]).axes[0]
    both = np.array([run.history["test_loss"] for run in runs])
    _, mean = line(axis, "test samples")
    assert_close(mean, both.mean(axis=0))
    low_high = band(axis.collections[1])  # after the band of the training loss
    assert_close(np.array(low_high), np.stack([both.min(axis=0), both.max(axis=0)], axis=1))


def test_stops_are_marked_in_every_panel_at_their_epochs(tmp_path):
    column = craft(tmp_path / "a")
    for axis in training_figure([column]).axes + margins_figure([column]).axes:
        assert marks(axis) - {0} == {4, 7}  # 0: the zero line of the margins
    column = craft(tmp_path / "b", falls=False)
    assert all(marks(axis) == {7} for axis in training_figure([column]).axes)


def test_stops_of_several_seeds_are_marked_at_their_median(tmp_path):
    both = panel_of("both", [craft(tmp_path / str(seed), seed).runs[0] for seed in (0, 1)])
    assert all(marks(axis) == {7, 12} for axis in training_figure([both]).axes)
    assert marks(margins_figure([both]).axes[0]) - {0} == {4, 7}  # the run that it shows


def test_what_has_no_number_is_left_out(tmp_path):
    def clean(history, samples):
        samples["y_given"] = samples["y_true"]
        history[["train_accuracy_noisy", "selection_recall", "selection_precision"]] = np.nan

    column = craft(tmp_path / "clean", change=clean)
    _, accuracy, share = training_figure([column]).axes
    assert "noisy samples" not in names(accuracy) and names(share) == ["held-out accuracy"]

    def nothing_held_out(history, samples):
        clean(history, samples)
        history["held_out_accuracy"] = np.nan

    column = craft(tmp_path / "nothing", change=nothing_held_out)
    assert [axis.get_ylabel() for axis in training_figure([column]).axes] == ["loss", "accuracy"]
    beside = training_figure([column, craft(tmp_path / "noisy")])
    assert [axis.get_ylabel() for axis in beside.axes if axis.get_ylabel()] == ["loss", "accuracy", "share"]


def test_margins_are_quantiles_of_the_samples_that_were_trained_on(tmp_path):
    def held_out_are_extreme(history, samples):
        samples["margin"][:, samples["held_out"]] = 1e4

    column = craft(tmp_path / "a", change=held_out_are_extreme)
    samples = np.load(tmp_path / "a/samples.npz")
    axis = margins_figure([column]).axes[0]
    for group, (name, noisy) in enumerate((("clean", False), ("noisy", True))):
        chosen = [
            i for i in range(40) if not samples["held_out"][i] and (samples["y_true"] != samples["y_given"])[i] == noisy
        ]
        levels = np.array(
            [[np.quantile(row[chosen], q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)] for row in samples["margin"]], float
        )
        x, median = line(axis, f"{name}: median")
        assert x.tolist() == [1, 4, 7, 20]
        assert_close(median, levels[:, 2], rtol=1e-6)
        for place, ends in ((0, (0, 4)), (1, (1, 3))):
            assert_close(np.array(band(axis.collections[2 * group + place])), levels[:, ends], rtol=1e-6)


def test_without_noisy_samples_margins_are_those_of_clean_ones(tmp_path):
    column = craft(tmp_path / "a", change=lambda _, samples: samples.update(y_given=samples["y_true"]))
    assert names(margins_figure([column]).axes[0])[0] == "clean: median"
    assert not any(name.startswith("noisy") for name in names(margins_figure([column]).axes[0]))


@pytest.mark.slow
def test_a_record_that_is_not_finite_is_a_gap_in_the_margins(tmp_path):
    def diverge(history, samples):
        samples["margin"][2, :3] = np.nan, np.inf, -np.inf
        history.loc[2, ["train_loss", "test_loss"]] = np.inf, np.nan

    column = craft(tmp_path / "a", change=diverge)
    _, median = line(margins_figure([column]).axes[0], "clean: median")
    assert np.isnan(median).tolist() == [False, False, True, False]
    write_report(tmp_path / "a")  # it can be drawn, without a warning


def test_margins_without_their_epochs_are_refused(tmp_path):
    column = craft(tmp_path / "a", change=lambda _, samples: samples.pop("epoch"))
    with pytest.raises(InputError, match=r"samples\.npz must hold epoch, margin.*--overwrite"):
        margins_figure([column])
