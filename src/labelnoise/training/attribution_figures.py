"""The figures of attributions: which pixels speak for a class, and how alike attributions are within it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from labelnoise.record.stopping_points import RULES
from labelnoise.report.drawing import CLEAN, NOISY, dots, finish
from labelnoise.runs.reading import Run
from labelnoise.training.attribution import Attribution

PER_KIND = {"clean": 4, "noisy": 6}
"""Samples that the attribution figure shows: the first ones drawn."""


def attribution_figure(run: Run, attribution: Attribution) -> Figure:
    """Some clean and some noisy images, and their attributions toward true and given class at each epoch shown.

    Channels are summed. One colour scale, symmetric about 0, for both pictures of an image at an epoch; it ends at the
    99th percentile.
    """
    noisy = attribution.y_true != attribution.y_given
    rows = np.concatenate([np.flatnonzero(~noisy)[: PER_KIND["clean"]], np.flatnonzero(noisy)[: PER_KIND["noisy"]]])
    width = 1 + 2 * len(attribution.shown_epoch)
    figure = Figure(figsize=(1.75 * width + 0.6, 1.72 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots(len(rows), width, squeeze=False)
    names = [str(name) for name in run.summary.get("class_names", run.summary["classes"])]
    for line, i in zip(axes, rows, strict=True):
        true, given = (names[y[i]] for y in (attribution.y_true, attribution.y_given))
        image = attribution.image[i].transpose(1, 2, 0)
        line[0].imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        text = f"noisy: {true}, given {given}" if noisy[i] else f"clean: {true}"
        broken = text.replace(", ", ",\n") if len(text) > 22 else text
        line[0].set_xlabel(broken, color=NOISY if noisy[i] else CLEAN, parse_math=False)  # a class may have any name
        for s, pair in enumerate(line[1:].reshape(-1, 2)):
            picture = _attribution_pair(pair, attribution, s, i)
    titles = ["image"]
    for epoch in attribution.shown_epoch:
        stops = ", ".join(name for rule, (name, _) in RULES.items() if attribution.facts["stops"].get(rule) == epoch)
        titles += [f"epoch {epoch}\n({stops})\ntoward {kind} class" for kind in ("true", "given")]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes[-1].tolist(), location="bottom", ticks=[], aspect=60, shrink=0.6)
    bar.set_label("speaks against the class (blue)   |   speaks for it (red)")
    bar.outline.set_visible(False)
    return figure


def _attribution_pair(axes: Any, attribution: Attribution, s: int, i: int) -> AxesImage:
    """Draw sample i toward true and given class at the s-th epoch shown, and write the logits below."""
    pair = [values[s, i].sum(axis=0) for values in (attribution.toward_true, attribution.toward_given)]
    limit = max(np.quantile(np.abs(pair), 0.99), np.finfo(np.float32).tiny)
    logits = attribution.logits[attribution.epoch == attribution.shown_epoch[s]][0, i]
    labels = attribution.y_true[i], attribution.y_given[i]
    for axis, values, label in zip(axes, pair, labels, strict=True):
        if axis is axes[1] and labels[0] == labels[1]:
            axis.text(0.5, 0.5, "given = true", ha="center", va="center", color="#777777", transform=axis.transAxes)
            continue
        picture = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        largest = ", the largest" if logits[label] == logits.max() else ""
        axis.set_xlabel(f"logit {logits[label]:.1f}{largest}")
    return picture


def similarity_figure(run: Run, attribution: Attribution) -> Figure:
    """How alike attributions are to the mean of the class: toward the true class, toward the given one."""
    figure = Figure(figsize=(11.6, 4.0), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True, squeeze=False)
    noisy = attribution.y_true != attribution.y_given
    for axis, values, kind in zip(
        axes[0], (attribution.similarity_true, attribution.similarity_given), ("true", "given"), strict=True
    ):
        for chosen, colour, name in ((~noisy, CLEAN, "clean samples"), (noisy, NOISY, "noisy samples")):
            known = np.isfinite(values[:, chosen]).any(axis=1)
            if known.any():
                epoch, part = attribution.epoch[known], values[known][:, chosen]
                low, median, high = np.nanquantile(part, (0.25, 0.5, 0.75), axis=1)
                axis.fill_between(epoch, low, high, color=colour, alpha=0.18, linewidth=0, label=f"{name}: middle half")
                axis.plot(epoch, median, color=colour, label=f"{name}: median", linewidth=1.6, marker=dots(epoch))
        for rule, at in sorted(attribution.facts["stops"].items(), key=lambda stop: stop[1]):
            dash = "--" if rule == "last" else ":"
            axis.axvline(at, color="#777777", linewidth=1.3, linestyle=dash, label=RULES[rule][0])
        axis.axhline(0, color="#000000", linewidth=1)
        axis.set(title=f"attribution toward the {kind} class", xlabel="epoch")
        axis.locator_params(axis="x", integer=True)
    return finish(figure, axes, ("cosine similarity to the mean\nof clean samples of that class",))
