"""What the page shows of training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from labelnoise.record.stopping import paired_fall
from labelnoise.record.stopping_points import RULES, describe_fall
from labelnoise.report.tables import NOTHING, averages, values_at, values_at_end
from labelnoise.runs.pages import Page, Panel, Picture, Quote
from labelnoise.runs.reading import Run
from labelnoise.training.attribution import FACTS, read_attribution
from labelnoise.training.attribution_figures import attribution_figure, similarity_figure
from labelnoise.training.figures import margins_figure, training_figure
from labelnoise.training.seeds import read_members

STOPS = {
    "at": "epoch",
    "test_accuracy": "test accuracy",
    "train_accuracy_clean": "clean fitted",
    "train_accuracy_noisy": "noisy fitted",
    "selection_precision": "precision",
    "selection_recall": "recall",
    "selection_f1": "F1",
}

CURVES_LOOK = (
    "What to look for: does the network fit the clean samples while it still rejects the wrong labels, and does "
    "the test accuracy fall when it memorises them?"
)
LOOK = f"{CURVES_LOOK} Bottom: how well the samples with a negative margin, the suspects, are the noisy ones."

MARGINS = (
    "What to look for: in Stage I clean samples lie above 0 (fitted) and noisy ones below, so that the sign tells them "
    "apart; in Stage II the noisy ones cross the line. Held-out samples are left out. The axis is linear between -1 "
    "and 1, logarithmic beyond."
)

PIXELS = (
    "Which pixels speak for a class. What to look for: early, the pixels that speak for the true class should carry a "
    "noisy image; at the end pixels of its own should hold it to the given class."
)

ALIKE = (
    "The cosine of an image's attribution and the mean attribution of the other clean images of the class, at each "
    "epoch whose weights were kept. What to look for: toward the true class, a noisy image near the clean ones is "
    "carried by what its class has in common; toward the given class, one far below them is held by pixels of its own."
)

HISTORY = {
    "": (
        "a row for each recorded epoch. What it says of training, held-out and test images is measured after the "
        "epoch, in eval mode"
    ),
    "epoch, lr": "passes over the training images so far, and the learning rate of the last",
    "seconds": "since the start",
    "train_seconds, eval_seconds": "the training and the measuring of this epoch",
    "train_loss, train_accuracy, train_accuracy_clean, train_accuracy_noisy": (
        "against the given labels, over all, clean and noisy training images; held-out images are left out"
    ),
    "test_loss, test_accuracy": "against the true labels",
    "held_out_loss, held_out_accuracy": "against the given labels",
    "selection_precision, selection_recall, selection_f1": (
        "how well a margin below 0 finds the noisy training images"
    ),
}

SAMPLES = {
    "": "a column for each training image, held-out ones included",
    "margin, loss, prediction": "a row for each record (epoch says which), all with the same weights",
    "margin_train": (
        "a row for every epoch: the margin each image had in its training batch, in train mode, while the weights were "
        "moving; NaN for held-out images"
    ),
    "y_true, y_given": "true and given label",
    "held_out": "whether the image was kept out of the training",
    "index": "its place in the data set",
}


def _quotes(panel: Panel) -> list[Quote]:
    """What stopping is worth, and what is memorised; the rest is for runs that lack some of it."""
    known = (rule for rule in ("averaged", "rule", "held_out", "oracle") if len(values_at(panel, rule, "at")))
    rule = next(known, "last")
    first = [_worth(panel, rule), _suspects(panel, rule), _memorised(panel, rule), _stop(panel, rule), _best(panel)]
    return [*first, _fitted(panel), _held_out(panel)]


def _worth(panel: Panel, rule: str) -> Quote:
    (stop, end), seeds = averages([values_at(panel, at, "test_accuracy") for at in (rule, "last")], ".1%")
    gains = 100 * values_at(panel, rule, "gain_test_accuracy")
    (gain,), _ = averages([gains], ".1f")
    falls = values_at(panel, rule, "falls")
    seen = f"; a fall is seen in {falls.sum():.0f} of {len(falls)}" if len(falls) else ""
    words = f"true labels, a gain of {gain} points; {seeds}{seen}"
    return Quote("Test accuracy at the stop and at the end", f"{stop} → {end}" if end != NOTHING else NOTHING, words)


def _suspects(panel: Panel, rule: str) -> Quote:
    at_stop = [values_at(panel, rule, f"selection_{name}") for name in ("recall", "precision")]
    label = "Wrong labels a negative margin finds at the stop"
    if at_stop[0].empty:
        return Quote(label, NOTHING, "no label is wrong, or margins were not recorded")
    (recall, precision), seeds = averages(at_stop, ".1%")
    return Quote(label, f"{recall} found, {precision} right", f"recall and precision, {seeds}")


def _memorised(panel: Panel, rule: str) -> Quote:
    (end,), seeds = averages([values_at(panel, "last", "train_accuracy_noisy")], ".1%")
    (stop,), _ = averages([values_at(panel, rule, "train_accuracy_noisy")], ".1%")
    words = f"{stop} at the stop; {seeds}" if end != NOTHING else "there are no noisy samples"
    return Quote("Wrong labels memorised at the end", end, words)


def _fitted(panel: Panel) -> Quote:
    (accuracy,), seeds = averages([values_at_end(panel, "train_accuracy")], ".1%")
    return Quote("Training samples fitted at the end", accuracy, f"to the given label; {seeds}")


def _held_out(panel: Panel) -> Quote:
    (accuracy,), seeds = averages([values_at_end(panel, "held_out_accuracy")], ".1%")
    return Quote("Held-out accuracy at the end", accuracy, f"given labels; {seeds}")


def _stop(panel: Panel, rule: str) -> Quote:
    (stop, t1), seeds = averages([values_at(panel, at, "at") for at in (rule, "oracle")], ".0f")
    (end,), _ = averages([values_at(panel, "last", "at")], ".0f")
    value = NOTHING if stop == NOTHING else f"epoch {stop} of {end}"
    words = ", ".join(RULES[rule]) if rule != "last" else "no rule stops before"
    also = f"; T1 is {t1}" if rule not in ("oracle", "last") and t1 != NOTHING else ""
    return Quote("The stop", value, f"{words}{also}; {seeds}")


def _best(panel: Panel) -> Quote:
    """The best epoch of each seed, which only the test labels know."""
    history = panel.history.dropna(subset="test_accuracy")
    best = history.loc[history.groupby("seed")["test_accuracy"].idxmax()]
    (accuracy,), seeds = averages([best["test_accuracy"]], ".1%")
    (epoch,), _ = averages([best["epoch"]], ".0f")
    return Quote("Best test accuracy", accuracy, f"at epoch {epoch}, which only test labels know; {seeds}")


def _stopping(run: Run) -> Sequence[Mapping[str, Any]]:
    """The stopping points; of a run that compared two accuracies, judged anew by its held-out samples."""
    rows = run.summary["stops"]
    if all("paired" in row for row in rows if row["rule"] == "held_out"):
        return rows
    if not {"epoch", "margin", "held_out"} <= set(run.samples):
        return rows
    fitted = run.samples["margin"][:, run.samples["held_out"]] > 0
    at = {int(epoch): record for record, epoch in enumerate(run.samples["epoch"])}
    return [_judged(row, fitted[at[row["at"]]], fitted[-1]) if row["rule"] == "held_out" else row for row in rows]


def _judged(row: Mapping[str, Any], stop: np.ndarray, end: np.ndarray) -> dict[str, Any]:
    fall = paired_fall(stop, end)
    return {**row, "reason": fall.reason, **describe_fall(fall)}


def _pictures(panels: Sequence[Panel]) -> list[Picture]:
    curves = Picture("curves", partial(training_figure, panels))
    if not panels[0].runs:
        return [curves]
    text = MARGINS
    if any(len(panel.runs) > 1 for panel in panels):
        text += " One run a column: " + ", ".join(panel.runs[0].name for panel in panels) + "."
    margins = Picture("margins", partial(margins_figure, panels), "Margins", text)
    return [curves, margins, *_attribution(panels)]


def _attribution(panels: Sequence[Panel]) -> list[Picture]:
    """What `labelnoise explain` wrote into the first run that it was asked about."""
    runs = [run for panel in panels for run in panel.runs if (run.path / FACTS).is_file()]
    if not runs:
        return []
    run, attribution = runs[0], read_attribution(runs[0].path)
    text = f"{PIXELS} Of {run.name}: {attribution}"
    pixels = partial(attribution_figure, run, attribution)
    alike = partial(similarity_figure, run, attribution)
    return [
        Picture("attribution", pixels, "Attribution", text, below=True),
        Picture("similarity", alike, "Carried by the signal, or memorised", ALIKE, below=True),
    ]


WORDS = {
    "Held-out stop": "the epoch around which held-out accuracy is best, in a mean of five. It is looked up in every "
    "run after it is over, so that runs can be compared, and ends none.",
    "The stop": "of a run with --stop: the epoch that its own rule chose, by the least held-out loss unless another "
    "rule was asked for; where its patience ran out before the epochs did, it ended the run. Accuracy and loss need "
    "not agree on the epoch.",
}
PAGE = Page(
    look=LOOK,
    pictures=_pictures,
    quotes=_quotes,
    stops=STOPS,
    stopping=_stopping,
    members=read_members,
    words=WORDS,
    files={"history.csv": HISTORY, "samples.npz": SAMPLES},
)
