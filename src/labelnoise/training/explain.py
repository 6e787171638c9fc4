"""Attribution: which pixels speak for the true and for the given label of a training image, epoch by epoch.

A sample *carried by the signal* is attributed like the clean samples of its class; a *memorised* one by pixels of its
own.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from labelnoise.arrays import stream, to_numpy
from labelnoise.devices import cpu_threads, find_device, repeatable
from labelnoise.errors import InputError, check_progress, counted
from labelnoise.images.data import Data
from labelnoise.images.networks import NO_ATTRIBUTION
from labelnoise.record.recorder import Recorder
from labelnoise.runs.kinds import Progress
from labelnoise.runs.locks import lock_run
from labelnoise.runs.reading import Run, read_run
from labelnoise.runs.settings import settings_of
from labelnoise.training.attribution import Attribution, class_similarity, write_attribution
from labelnoise.training.attribution_methods import attribute
from labelnoise.training.checkpoints import kept_epochs, read_weights, weights_name
from labelnoise.training.config import ExplainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.seeds import check_one_seed

PACKAGES = {"deep": ("labelnoise", "torch", "shap"), "expected-gradients": ("labelnoise", "torch")}
"""What made an attribution, by method."""


def explain_run(path: str | Path, config: ExplainConfig | None = None, progress: Progress | None = None) -> Attribution:
    """Explain clean and noisy training images of a finished run at every epoch whose weights it keeps.

    Held-out images are not explained: the network was not trained on them. The result is written into the run
    directory, in place of an earlier one.

    Args:
        path: a run directory of `labelnoise train`.
        config: what to explain and how; None takes the defaults.
        progress: called after each epoch with the number of epochs done and of all.

    Raises:
        InputError: no finished training run, data or weights that are no longer those of the run, or a network that
            cannot be explained.
    """
    config = ExplainConfig() if config is None else config
    if not isinstance(config, ExplainConfig):
        raise InputError(f"`config` must be an ExplainConfig, got {type(config).__name__}; leave it out")
    check_progress(progress)
    run = read_run(path)
    with lock_run(run.path, "explain"):
        return _explain(run, config, progress)


def _explain(run: Run, config: ExplainConfig, progress: Progress | None) -> Attribution:
    trained, data = _rebuild(run)
    stops, epochs = _stops(run), kept_epochs(run.path)
    for epoch in {*stops.values()} - {*epochs}:
        read_weights(run.path, epoch)  # refuses, before the work
    chosen = _choose(data, run.samples["held_out"], config)
    device = find_device(config.device)
    source, model = data.on(device), trained.build(data).to(device).eval()
    rows = np.concatenate([chosen.sample, chosen.reference])
    images, background = (source.normalise(source.x_train[part]) for part in (rows, chosen.background))
    results = []
    with cpu_threads(config.threads), repeatable():
        for done, epoch in enumerate(epochs, start=1):
            _load(model, run, epoch)
            results.append(_explain_epoch(model, epoch, run, chosen, images, background, config))
            if progress:
                progress(done, len(epochs))
    attribution = _collect(data, chosen, stops, results, config)
    write_attribution(run.path, attribution)
    return attribution


def _rebuild(run: Run) -> tuple[TrainRun, Data]:
    """The config and the data of a run, or a refusal."""
    trained = run.config if run.command == TrainRun.command else None
    if not isinstance(trained, TrainRun):
        raise InputError(f"{run.path} must be a run of 'train', got one of {run.command!r}; choose another run")
    check_one_seed(run)
    trained = replace(trained, weights="")  # the kept weights take their place
    if trained.model in NO_ATTRIBUTION:
        why = NO_ATTRIBUTION[trained.model]
        raise InputError(f"`model` {trained.model!r} has no attribution: {why}; choose another run")
    data = trained.load()
    for name in ("index", "y_true", "y_given"):
        if not np.array_equal(getattr(data, name), run.samples[name]):
            raise InputError(
                f"{run.path} was trained on other data: `{name}` is not what {trained.data!r} gives now; bring the "
                "data back, or train again"
            )
    return trained, data


def _stops(run: Run) -> dict[str, int]:
    """The stopping points shown in full with their epochs: T1 (where there is none, the held-out stop), the last."""
    at = {row["rule"]: row["at"] for row in run.summary["stops"] if row["at"] is not None}
    if "last" not in at:
        raise InputError(f"{run.path} must hold at least one epoch, got none; train again with a lower `lr`")
    first = [rule for rule in ("oracle", "held_out") if rule in at][:1]
    return {rule: at[rule] for rule in (*first, "last")}


class _Chosen(NamedTuple):
    """Rows of training images: explained (clean ones first), further clean ones for class means, background."""

    sample: np.ndarray
    reference: np.ndarray
    background: np.ndarray


def _choose(data: Data, held_out: np.ndarray, config: ExplainConfig) -> _Chosen:
    """Draw from one permutation, so that a larger number keeps the samples of a smaller one."""
    order = stream(config.seed, "explain").permutation(len(held_out))
    order = order[~held_out[order]]
    clean, noisy = order[~data.noisy[order]], order[data.noisy[order]][: config.noisy]
    label = data.y_true[clean]
    place = np.zeros(len(clean), dtype=int)  # of each clean image within its class
    for k in range(data.n_classes):
        place[label == k] = np.arange(np.count_nonzero(label == k))
    by_turns = np.argsort(place, kind="stable")  # positions in `clean`: the first of each class, the second of each ...
    explained, others = by_turns[: config.clean], by_turns[config.clean :]
    sample = np.concatenate([clean[explained], noisy])
    compared_with = np.isin(label[others], [data.y_true[sample], data.y_given[sample]])
    reference = others[compared_with & (place[others] < config.reference)]
    background = np.delete(clean, np.concatenate([explained, reference]))[: config.background]
    if not len(background):
        raise InputError(
            f"`background` needs clean images beside {len(explained)} explained and {len(reference)} reference ones, "
            f"but the run has {len(clean)}; lower `clean` or `reference`"
        )
    return _Chosen(sample, clean[reference], background)


def _load(model: nn.Module, run: Run, epoch: int) -> None:
    weights = read_weights(run.path, epoch)
    run.verify(weights_name(epoch))
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise InputError(f"{run.path}: the weights of epoch {epoch} are of another network; train again") from None


def _check_margins(run: Run, epoch: int, sample: np.ndarray, logits: np.ndarray) -> None:
    """Refuse images or weights that do not give the margins of the run."""
    (at,) = np.nonzero(run.samples["epoch"] == epoch)
    if not len(at):
        return
    recorder = Recorder(*logits.shape)
    recorder.update(np.arange(len(sample)), logits, run.samples["y_given"][sample])
    gap = np.abs(recorder.end_epoch().margin - run.samples["margin"][at[0], sample])
    # a tenth: bfloat16 or another device stay well below, other images or weights do not
    if not gap.mean() < 0.1 * np.ptp(logits, axis=1).mean():
        raise InputError(
            f"{run.path}: the network does not give the margins recorded at epoch {epoch}: images or weights have "
            "changed since; bring them back, or train again"
        )


class _Result(NamedTuple):
    """What one epoch gives: arrays as in `Attribution`, without the first axis, and the gap of the sums."""

    epoch: int
    logits: np.ndarray
    similarity_true: np.ndarray
    similarity_given: np.ndarray
    toward_true: np.ndarray
    toward_given: np.ndarray
    largest: float
    """Largest gap between the sum of an attribution and what it should be."""
    relative: float
    """The same over the mean of what they should be."""


def _explain_epoch(
    model: nn.Module,
    epoch: int,
    run: Run,
    chosen: _Chosen,
    images: torch.Tensor,
    background: torch.Tensor,
    config: ExplainConfig,
) -> _Result:
    """Attribute explained and reference images (in this order) toward their labels, and compare them."""
    rows, explained = np.concatenate([chosen.sample, chosen.reference]), slice(len(chosen.sample))
    y_true, y_given = (run.samples[name][rows] for name in ("y_true", "y_given"))
    with torch.no_grad():
        logits = to_numpy(model(images[explained]))
    _check_margins(run, epoch, chosen.sample, logits)
    noisy = y_true != y_given  # of explained images alone: those for reference are clean
    toward_true, due_true = attribute(model, images, y_true, background, config)
    of_noisy, due_noisy = attribute(model, images[noisy], y_given[noisy], background, config)
    toward_given = toward_true[explained].copy()  # of a clean image both are one
    toward_given[noisy[explained]] = of_noisy
    due = np.concatenate([due_true, due_noisy])  # what each attribution should sum to
    gaps = np.abs(np.concatenate([toward_true, of_noisy]).sum(axis=(1, 2, 3), dtype=float) - due)
    clean = (toward_true[~noisy], rows[~noisy], y_true[~noisy])
    return _Result(
        epoch,
        logits,
        similarity_true=class_similarity(toward_true[explained], chosen.sample, y_true[explained], *clean),
        similarity_given=class_similarity(toward_given, chosen.sample, y_given[explained], *clean),
        toward_true=toward_true[explained],
        toward_given=toward_given,
        largest=float(gaps.max()),
        relative=float(gaps.max() / max(np.abs(due).mean(), np.finfo(float).tiny)),
    )


def _collect(
    data: Data, chosen: _Chosen, stops: dict[str, int], results: list[_Result], config: ExplainConfig
) -> Attribution:
    sample, shown = chosen.sample, [row for row in results if row.epoch in stops.values()]
    noisy = int(data.noisy[sample].sum())
    counts = {"clean": len(sample) - noisy, "noisy": noisy}
    counts |= {"reference": len(chosen.reference), "background": len(chosen.background)}
    gaps = [{"epoch": row.epoch, "largest": row.largest, "relative": row.relative} for row in results]
    facts = {
        "settings": settings_of(config),
        "stops": stops,
        "counts": counts,
        "gaps": gaps,
        "versions": {name: version(name) for name in PACKAGES[config.method]},
        "text": _text(config, counts, max(gaps, key=lambda row: row["relative"])),
    }
    return Attribution(
        facts=facts,
        **chosen._asdict(),
        y_true=data.y_true[sample],
        y_given=data.y_given[sample],
        image=data.x_train[sample],
        epoch=np.array([row.epoch for row in results]),
        logits=np.stack([row.logits for row in results]),
        similarity_true=np.stack([row.similarity_true for row in results]),
        similarity_given=np.stack([row.similarity_given for row in results]),
        shown_epoch=np.array([row.epoch for row in shown]),
        toward_true=np.stack([row.toward_true for row in shown]),
        toward_given=np.stack([row.toward_given for row in shown]),
    )


def _text(config: ExplainConfig, counts: dict[str, int], worst: dict[str, float]) -> str:
    """What was explained and how well the sums come out, in sentences."""
    text = (
        f"{counts['clean']} clean and {counted(counts['noisy'], 'noisy sample')} by {config.method}, against "
        f"{counted(counts['background'], 'clean image')}. The sum of an attribution misses its difference of logits by "
        f"at most {worst['relative']:.1g} of the mean difference ({worst['largest']:.1g}, at epoch {worst['epoch']})."
    )
    if config.method == "expected-gradients":
        text += f" That gap is chance: {config.nsamples} random points an image."
    if counts["noisy"] < config.noisy:
        text += " The run has no more noisy samples." if counts["noisy"] else " The run has no noisy samples."
    return text
