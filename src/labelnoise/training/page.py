"""What the page shows of training runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from labelnoise.runs.pages import Page, Panel, Picture
from labelnoise.training.attribution import FACTS, read_attribution
from labelnoise.training.attribution_figures import attribution_figure, similarity_figure
from labelnoise.training.figures import margins_figure, training_figure

STOPS = {
    "at": "epoch",
    "test_accuracy": "test accuracy",
    "gain_test_accuracy": "gain",
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


def _pictures(panels: Sequence[Panel]) -> list[Picture]:
    curves = Picture("curves", partial(training_figure, panels))
    if not panels[0].runs:
        return [curves]
    text = MARGINS
    if any(len(panel.runs) > 1 for panel in panels):
        text += " One run a column: " + ", ".join(panel.runs[0].path.name for panel in panels) + "."
    margins = Picture("margins", partial(margins_figure, panels), "Margins", text)
    return [curves, margins, *_attribution(panels)]


def _attribution(panels: Sequence[Panel]) -> list[Picture]:
    """What `labelnoise explain` wrote into the first run that it was asked about."""
    runs = [run for panel in panels for run in panel.runs if (run.path / FACTS).is_file()]
    if not runs:
        return []
    run, attribution = runs[0], read_attribution(runs[0].path)
    text = f"{PIXELS} Of {run.path.name}: {attribution}"
    pixels = partial(attribution_figure, run, attribution)
    alike = partial(similarity_figure, run, attribution)
    return [
        Picture("attribution", pixels, "Attribution", text, below=True),
        Picture("similarity", alike, "Carried by the signal, or memorised", ALIKE, below=True),
    ]


PAGE = Page(look=LOOK, pictures=_pictures, stops=STOPS, files={"history.csv": HISTORY, "samples.npz": SAMPLES})
