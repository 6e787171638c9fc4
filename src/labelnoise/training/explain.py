"""Attribution: which pixels speak for the true and for the given label of a training image, epoch by epoch.

A sample *carried by the signal* is attributed like the clean samples of its class; a *memorised* one by pixels of its
own. What is attributed is a logit, not a probability: logits add up, and a saturated one still says why.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from labelnoise.arrays import stream, to_numpy
from labelnoise.errors import InputError, check_integer, did_you_mean
from labelnoise.images.data import Data
from labelnoise.images.networks import NO_ATTRIBUTION
from labelnoise.record.recorder import Recorder
from labelnoise.runs.folders import Progress
from labelnoise.runs.reading import RunRecord, read_run
from labelnoise.runs.settings import settings_of
from labelnoise.training.attribution import Attribution, class_similarity, write_attribution
from labelnoise.training.checkpoints import kept_epochs, read_weights
from labelnoise.training.config import find_device
from labelnoise.training.experiment import TrainRun, cpu_threads

PACKAGES = {"deep": ("labelnoise", "torch", "shap"), "expected-gradients": ("labelnoise", "torch")}
"""What made an attribution, by method."""
POINTS = 100
"""Images a batch of expected gradients."""


@dataclass(frozen=True)
class ExplainConfig:
    """Which samples to explain, and how."""

    clean: int = 20
    """Clean samples explained, evenly from all classes; fewer if the run has fewer."""
    noisy: int = 20
    """Noisy samples explained; fewer if the run has fewer."""
    background: int = 100
    """Clean training images whose mean logit an attribution starts from; fewer if the run has fewer."""
    reference: int = 10
    """Clean samples of a class whose mean attribution stands for the class; explained ones count."""
    method: Literal["deep", "expected-gradients"] = "deep"
    """How: deep (shap's DeepExplainer) or expected-gradients (gradients between image and background, no shap)."""
    nsamples: int = 200
    """Gradients an image for expected-gradients; more of them make its gap smaller."""
    seed: int = 0
    """Seed of the draw of samples, background and gradients."""
    device: str = "auto"
    """torch device; auto takes a GPU if there is one, else the CPU."""
    threads: int = 1
    """CPU threads; the last digits of a result depend on their number."""

    def __post_init__(self) -> None:
        for name in ("clean", "noisy", "background", "nsamples", "threads"):
            check_integer(name, getattr(self, name), 1, getattr(ExplainConfig, name))
        check_integer("reference", self.reference, 2, ExplainConfig.reference)  # a sample leaves itself out
        if self.method not in METHODS:
            near = did_you_mean(str(self.method), METHODS)
            raise InputError(f"`method` must be one of {', '.join(METHODS)}, got {self.method!r}{near}")
        stream(self.seed, "explain")  # refuses a seed that is none


def explain_run(path: Path, config: ExplainConfig | None = None, progress: Progress | None = None) -> Attribution:
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
    record, config = read_run(path), config or ExplainConfig()
    run, data = _rebuild(record)
    stops, epochs = _stops(record), kept_epochs(record.path)
    for epoch in {*stops.values()} - {*epochs}:
        read_weights(record.path, epoch)  # refuses, before the work
    chosen = _choose(data, record.samples["held_out"], config)
    device = find_device(config.device)
    source, model, found = data.on(device), run.build(data).to(device).eval(), []
    rows = np.concatenate([chosen.sample, chosen.reference])
    images, background = (source.normalise(source.x_train[part]) for part in (rows, chosen.background))
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with cpu_threads(config.threads), exact:
        for done, epoch in enumerate(epochs, start=1):
            _load(model, record.path, epoch)
            found.append(_explain_epoch(model, epoch, record, chosen, images, background, config))
            if progress:
                progress(done, len(epochs))
    attribution = _collect(data, chosen, stops, found, config)
    write_attribution(record.path, attribution)
    return attribution


def attribute(
    model: nn.Module,
    images: torch.Tensor,
    toward: np.ndarray,
    background: torch.Tensor,
    config: ExplainConfig | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the attribution of each image toward the logit of one class, and what it should sum to.

    sum of a(x, c) = logit_c(x) - mean of logit_c over the background, up to rounding (deep) or chance
    (expected-gradients). The network is used in eval mode and left as it is.

    Args:
        model: a float32 network from normalised images to logits (n, K).
        images: (m, C, H, W) normalised images.
        toward: (m,) the class c of each.
        background: (b, C, H, W) normalised images.
        config: its `method`, `nsamples` and `seed` count; None takes the defaults.

    Returns:
        Attributions (m, C, H, W) float32, and the differences of logits (m,) float64.
    """
    config = config or ExplainConfig()
    attributions, differences = np.zeros(tuple(images.shape), np.float32), np.zeros(len(images))
    for target in np.unique(toward):
        rows = np.flatnonzero(toward == target)
        column = _column(model, int(target), background)
        with torch.no_grad():
            differences[rows] = to_numpy(column(images[rows])[:, 0].double() - column(background).double().mean())
        attributions[rows] = METHODS[config.method](column, images[rows], background, config)
    return attributions, differences


def _column(model: nn.Module, target: int, images: torch.Tensor) -> nn.Module:
    """Return one logit (n, 1) of a copy of the network: shap leaves its hooks' tensors on what it explains."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        outputs = model(images[:1]).shape[1]
        # a layer that shap knows, exact; skip_init: a fresh one draws from torch's global random state
        pick = nn.utils.skip_init(nn.Linear, outputs, 1, bias=False, device=images.device)
        pick.weight.copy_(torch.arange(outputs, device=images.device)[None] == target)
    return nn.Sequential(model, pick)


def _deep(column: nn.Module, images: torch.Tensor, background: torch.Tensor, config: ExplainConfig) -> np.ndarray:
    """DeepLIFT's rescale rule, averaged over the background."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports, and of modules that it takes as linear, which `gaps` judge
        try:
            import shap
        except ImportError:
            raise InputError(
                "`method` deep needs shap; pip install 'labelnoise[explain]', or use expected-gradients"
            ) from None
        return shap.DeepExplainer(column, background).shap_values(images, check_additivity=False)[..., 0]


def _expected_gradients(
    column: nn.Module, images: torch.Tensor, background: torch.Tensor, config: ExplainConfig
) -> np.ndarray:
    """Mean over k of (x - b_k) * gradient at b_k + t_k (x - b_k), at the same b_k and t_k for each image and epoch."""
    rng, k = stream(config.seed, "evaluation"), np.arange(config.nsamples)
    size, count = len(background), config.nsamples
    uses = count // size + (k % size < count % size)
    # each b equally often, its t spread evenly over [0, 1]: less than half the error of independent draws
    t = (k // size + (rng.permutation(count) + rng.random(count)) / count) / uses
    starts = background[rng.permutation(size)[k % size]]
    shares = torch.as_tensor(t, dtype=starts.dtype, device=starts.device).reshape(-1, 1, 1, 1)
    found = np.zeros(tuple(images.shape))
    for image, total in zip(images, found, strict=True):
        for start, share in zip(starts.split(POINTS), shares.split(POINTS), strict=True):
            points = (start + share * (image - start)).requires_grad_()
            (gradient,) = torch.autograd.grad(column(points).sum(), points)
            total += to_numpy(((image - start) * gradient).sum(0)) / count
    return found


METHODS: dict[str, Callable[[nn.Module, torch.Tensor, torch.Tensor, ExplainConfig], np.ndarray]] = {
    "deep": _deep,
    "expected-gradients": _expected_gradients,
}
"""Each method by name: from a network with one output (n, 1), images and background to attributions."""


def _rebuild(record: RunRecord) -> tuple[TrainRun, Data]:
    """The config and the data of a run, or a refusal."""
    if record.command != "train":
        raise InputError(f"{record.path} must be a run of 'train', got one of {record.command!r}; choose another run")
    run = replace(TrainRun.from_settings(record.settings), weights="")  # the kept weights take their place
    if run.model in NO_ATTRIBUTION:
        raise InputError(f"`model` {run.model!r} has no attribution: {NO_ATTRIBUTION[run.model]}; choose another run")
    data = run.load()
    for name in ("index", "y_true", "y_given"):
        if not np.array_equal(getattr(data, name), record.samples[name]):
            raise InputError(
                f"{record.path} was trained on other data: `{name}` is not what {run.data!r} gives now; bring the data "
                "back, or train again"
            )
    return run, data


def _stops(record: RunRecord) -> dict[str, int]:
    """The stopping points shown in full with their epochs: T1 (where there is none, the held-out stop), the last."""
    at = {row["rule"]: row["at"] for row in record.summary["stops"] if row["at"] is not None}
    if "last" not in at:
        raise InputError(f"{record.path} must hold at least one epoch, got none; train again with a lower `lr`")
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
    place = np.zeros(len(clean), dtype=int)  # of each clean image within its class
    for label in range(data.n_classes):
        rows = np.flatnonzero(data.y_true[clean] == label)
        place[rows] = np.arange(len(rows))
    by_turns = np.argsort(place, kind="stable")  # the first of each class, then the second of each
    explained, others = by_turns[: config.clean], by_turns[config.clean :]
    sample = np.concatenate([clean[explained], noisy])
    needed = np.isin(data.y_true[clean[others]], [data.y_true[sample], data.y_given[sample]])
    reference = others[needed & (place[others] < config.reference)]
    background = np.delete(clean, np.concatenate([explained, reference]))[: config.background]
    if not len(background):
        raise InputError(
            f"`background` needs clean images beside {len(explained)} explained and {len(reference)} reference ones, "
            f"but the run has {len(clean)}; lower `clean` or `reference`"
        )
    return _Chosen(sample, clean[reference], background)


def _load(model: nn.Module, path: Path, epoch: int) -> None:
    weights = read_weights(path, epoch)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise InputError(f"{path}: the weights of epoch {epoch} are of another network; train again") from None


def _check_margins(record: RunRecord, epoch: int, sample: np.ndarray, logits: np.ndarray) -> None:
    """Refuse images or weights that do not give the margins of the record."""
    (at,) = np.nonzero(record.samples["epoch"] == epoch)
    if not len(at):
        return
    recorder = Recorder(*logits.shape)
    recorder.update(np.arange(len(sample)), logits, record.samples["y_given"][sample])
    gap = np.abs(recorder.end_epoch().margin - record.samples["margin"][at[0], sample])
    # a tenth: bfloat16 or another device stay well below, other images or weights do not
    if not gap.mean() < 0.1 * np.ptp(logits, axis=1).mean():
        raise InputError(
            f"{record.path}: the network does not give the margins recorded at epoch {epoch}: images or weights have "
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
    relative: float


def _explain_epoch(
    model: nn.Module,
    epoch: int,
    record: RunRecord,
    chosen: _Chosen,
    images: torch.Tensor,
    background: torch.Tensor,
    config: ExplainConfig,
) -> _Result:
    """Attribute explained and reference images (in this order) toward their labels, and compare them."""
    rows, m = np.concatenate([chosen.sample, chosen.reference]), len(chosen.sample)
    y_true, y_given = (record.samples[name][rows] for name in ("y_true", "y_given"))
    with torch.no_grad():
        logits = to_numpy(model(images[:m]))
    _check_margins(record, epoch, chosen.sample, logits)
    noisy = y_true != y_given
    toward_true, due = attribute(model, images, y_true, background, config)
    given, due_given = attribute(model, images[noisy], y_given[noisy], background, config)
    toward_given = toward_true[:m].copy()  # of a clean image both are one
    toward_given[noisy[:m]] = given
    due = np.concatenate([due, due_given])
    largest = np.abs(np.concatenate([toward_true, given]).sum(axis=(1, 2, 3), dtype=float) - due).max()
    pool = (toward_true[~noisy], rows[~noisy], y_true[~noisy])
    return _Result(
        epoch,
        logits,
        class_similarity(toward_true[:m], chosen.sample, y_true[:m], *pool),
        class_similarity(toward_given, chosen.sample, y_given[:m], *pool),
        toward_true[:m],
        toward_given,
        float(largest),
        float(largest / max(np.abs(due).mean(), np.finfo(float).tiny)),
    )


def _collect(
    data: Data, chosen: _Chosen, stops: dict[str, int], found: list[_Result], config: ExplainConfig
) -> Attribution:
    sample, shown = chosen.sample, [row for row in found if row.epoch in stops.values()]
    noisy = int(data.noisy[sample].sum())
    counts = {"clean": len(sample) - noisy, "noisy": noisy}
    counts |= {"reference": len(chosen.reference), "background": len(chosen.background)}
    gaps = [{"epoch": row.epoch, "largest": row.largest, "relative": row.relative} for row in found]
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
        epoch=np.array([row.epoch for row in found]),
        logits=np.stack([row.logits for row in found]),
        similarity_true=np.stack([row.similarity_true for row in found]),
        similarity_given=np.stack([row.similarity_given for row in found]),
        shown_epoch=np.array([row.epoch for row in shown]),
        toward_true=np.stack([row.toward_true for row in shown]),
        toward_given=np.stack([row.toward_given for row in shown]),
    )


def _text(config: ExplainConfig, counts: dict[str, int], worst: dict[str, float]) -> str:
    """What was explained and how well the sums come out, in sentences."""
    text = (
        f"{counts['clean']} clean and {counts['noisy']} noisy samples by {config.method}, against "
        f"{counts['background']} clean images. The sum of an attribution misses its difference of logits by at most "
        f"{worst['largest']:.1g}, {worst['relative']:.1g} of the mean difference (epoch {worst['epoch']})."
    )
    if config.method == "expected-gradients":
        text += f" That gap is chance: {config.nsamples} random points an image."
    if counts["noisy"] < config.noisy:
        text += " The run has no more noisy samples." if counts["noisy"] else " The run has no noisy samples."
    return text
