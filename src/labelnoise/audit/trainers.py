"""What is trained for an audit: a model for each kind of sample, or one of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from labelnoise.audit.encoding import as_numbers
from labelnoise.audit.labels import GivenLabels
from labelnoise.audit.materials import Material, MaterialKind
from labelnoise.errors import InputError, described, first_few
from labelnoise.record.recorder import Recorder
from labelnoise.training.config import TrainConfig

if TYPE_CHECKING:
    from jaxtyping import Bool

FOLDS: dict[MaterialKind, int] = {"table": 3, "text": 5, "dense": 5, "image": 1}
"""Trainings by default; where they are dear, one."""
DEAR = 5_000_000
"""Numbers in vectors from which on one training is the default."""
FEW_IMAGES = 2_000
"""Images up to which three trainings are the default: a tenth of them says too little of the rate."""
BATCHES = 50
"""Batches of a pass over few vectors or images, of 8 at least; of many, each holds 200 or 32."""
STAGES, PASSES, EPOCHS = 60, {"text": 6, "dense": 12, "dear": 6}, 30
"""Boosting stages of a table, passes over texts, few vectors and many, epochs over images."""
CHECKPOINT = 3
"""Epochs over images between states from which an interrupted training goes on."""
LEAF = 20
"""Samples of a leaf of a tree, at least; of fewer than 100 rows a fifth, or a tree of 30 rows could split nothing."""
BOOSTED = 20
"""Classes up to which a table is boosted; beyond, a tree for each class and stage takes too long."""


class Train(Protocol):
    """Makes the record of a training."""

    def __call__(
        self,
        mask: Bool[np.ndarray, " n"],
        seed: int,
        progress: Callable[[int, int], object] | None = None,
        folder: Callable[[], Path] | None = None,
        /,
    ) -> Recorder:
        """Train on all samples but those of a mask.

        Args:
            mask: the samples to hold out.
            seed: of weights and batches.
            progress: called as progress(done, total) after each epoch of a network.
            folder: makes the folder from which an interrupted training of a network goes on; called once all input is
                accepted.
        """


@dataclass(frozen=True)
class Trainer:
    """How samples are trained on."""

    words: str
    """What is trained."""
    folds: int
    """Trainings by default."""
    train: Train


def find_trainer(material: Material, labels: GivenLabels, model: Any) -> Trainer:
    """Return what trains on these samples.

    Args:
        material: the samples.
        labels: their given labels.
        model: None for the default of the kind; a classifier of scikit-learn, or a torch module.

    Raises:
        InputError: a model that is none of these.
    """
    if model is None:
        return _default(material, labels)
    words = f"{type(model).__name__}, as given"
    if _is_module(model):
        return Trainer(words, 1, _network(material, labels, model))
    if isinstance(model, type) or not (hasattr(model, "fit") and hasattr(model, "get_params")):
        raise InputError(
            f"`model` must be a classifier of scikit-learn or a torch module, got {described(model)}; give an object"
        )
    return Trainer(words, FOLDS["table"], _classifier(material, labels, model))


def _is_module(model: Any) -> bool:
    """Whether it is a torch module; torch is loaded already if it is."""
    return any(base.__module__.startswith("torch.nn") for base in type(model).__mro__)


def _default(material: Material, labels: GivenLabels) -> Trainer:
    """The model for this kind of sample."""
    if material.kind == "image":
        few, batch = material.n <= FEW_IMAGES, _batch(material, TrainConfig.batch_size)
        words = f"small-cnn, {EPOCHS} epochs of batches of {batch}"
        return Trainer(words, 3 if few else FOLDS["image"], _network(material, labels, None, batch))
    if material.kind == "text":
        words = f"TF-IDF and a linear model, {PASSES['text']} epochs"
        return Trainer(words, FOLDS["text"], _linear(material, labels))
    if material.kind == "table" and len(labels.classes) <= BOOSTED:
        return Trainer(f"gradient boosting, {STAGES} epochs (its stages)", FOLDS["table"], _boosting(material, labels))
    dear = material.kind == "dense" and material.samples.size > DEAR
    passes = PASSES["dear" if dear else "dense"]
    words = f"a perceptron of one hidden layer, {passes} epochs"
    return Trainer(words, 1 if dear else FOLDS[material.kind], _perceptron(material, labels, passes))


def _batch(material: Material, most: int) -> int:
    """Samples of a batch: of few samples a network would take too few steps to learn anything."""
    return int(np.clip(material.n // BATCHES, 8, most))


def _boosting(material: Material, labels: GivenLabels) -> Train:
    """Gradient boosting of a table, whose stages are the epochs."""

    def train(mask: np.ndarray, seed: int, *_: Any) -> Recorder:
        from sklearn.ensemble import HistGradientBoostingClassifier

        from labelnoise.adapters.sklearn import record_stages

        boosting = HistGradientBoostingClassifier(
            max_iter=STAGES,
            max_leaf_nodes=8,
            min_samples_leaf=min(LEAF, material.n // 5),
            early_stopping=False,
            categorical_features="from_dtype",
            random_state=seed % 2**32,
        )
        return record_stages(boosting, material.samples, labels.positions, held_out=mask)

    return train


def _linear(material: Material, labels: GivenLabels) -> Train:
    """A linear model on the TF-IDF of texts."""

    def train(mask: np.ndarray, seed: int, *_: Any) -> Recorder:
        from sklearn.linear_model import SGDClassifier

        from labelnoise.adapters.sklearn import record_passes

        linear = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=seed % 2**32)
        return record_passes(linear, material.tfidf, labels.positions, PASSES["text"], held_out=mask)

    return train


def _perceptron(material: Material, labels: GivenLabels, passes: int) -> Train:
    """A perceptron on vectors, or on a table of many classes."""

    def train(mask: np.ndarray, seed: int, *_: Any) -> Recorder:
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from labelnoise.adapters.sklearn import record_passes

        network = MLPClassifier((64,), batch_size=_batch(material, 200), random_state=seed % 2**32)
        pipeline = make_pipeline(StandardScaler(copy=material.kind == "dense"), network)
        return record_passes(pipeline, as_numbers(material), labels.positions, passes, held_out=mask)

    return train


def _classifier(material: Material, labels: GivenLabels, model: Any) -> Train:
    """A clone of a classifier a training; one without stages or passes is one epoch, of what was held out."""
    from sklearn.base import clone

    from labelnoise.adapters.sklearn import last_step, record_passes, record_stages

    last = last_step(model)
    samples = _inputs(material, pipeline=last is not model)

    def train(mask: np.ndarray, seed: int, *_: Any) -> Recorder:
        fresh = clone(model)
        try:
            if hasattr(last, "staged_predict_proba"):
                return record_stages(fresh, samples, labels.positions, held_out=mask)
            if hasattr(last, "partial_fit"):
                return record_passes(fresh, samples, labels.positions, PASSES["dense"], held_out=mask)
            return _record_fit(fresh, samples, labels, mask)
        except InputError:
            raise
        except Exception as error:  # somebody's model may raise anything
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                f"`model` must take these data, but fails: {why}; put what it needs into a Pipeline"
            ) from None

    return train


def _inputs(material: Material, pipeline: bool) -> Any:
    """What a classifier is given: numbers, but tables and texts as they are to a pipeline, whose steps prepare them."""
    if pipeline and material.kind in ("table", "text"):
        return material.samples
    return material.tfidf if material.kind == "text" else as_numbers(material)


def _record_fit(model: Any, samples: Any, labels: GivenLabels, mask: np.ndarray) -> Recorder:
    """One epoch of a model that has none: what it says of the samples that it never saw."""
    from labelnoise.adapters.sklearn import rows_of

    if not hasattr(model, "predict_proba"):
        raise InputError(
            f"`model` must give probabilities (`predict_proba`), got {type(model).__name__}; take another one, or wrap "
            "it in CalibratedClassifierCV"
        )
    trained, held_out = np.flatnonzero(~mask), np.flatnonzero(mask)
    model.fit(rows_of(samples, trained), labels.positions[trained])
    probabilities = model.predict_proba(rows_of(samples, held_out))
    least = np.finfo(np.float32).tiny  # of a class that was not trained on, and of a sure model: none is impossible
    every = np.full((held_out.size, len(labels.classes)), least)
    every[:, model.classes_] = np.maximum(probabilities, least)
    recorder = Recorder(labels.positions.size, len(labels.classes), held_out=mask)
    recorder.update(held_out, np.log(every), labels.positions[held_out])
    recorder.end_epoch()
    return recorder


def _network(material: Material, labels: GivenLabels, model: Any, batch: int = TrainConfig.batch_size) -> Train:
    """Copies of a network, trained by `fit` on images or vectors; without one, small-cnn."""

    def train(
        mask: np.ndarray,
        seed: int,
        progress: Callable[[int, int], object] | None = None,
        folder: Callable[[], Path] | None = None,
    ) -> Recorder:
        from labelnoise.images.from_arrays import data_from_arrays
        from labelnoise.images.networks import build_model
        from labelnoise.training.checks import check_training
        from labelnoise.training.loop import fit

        if material.kind == "text":
            raise InputError("`model` must be a classifier of scikit-learn for texts, got a torch module; embed them")
        samples = material.samples if material.kind == "image" else as_numbers(material)
        data = data_from_arrays(samples, labels.positions)
        config = TrainConfig(epochs=EPOCHS, batch_size=batch, checkpoint_every=CHECKPOINT, seed=seed)
        k = len(labels.classes)
        if model is None:
            channels, size = samples.shape[1], samples.shape[2:]
            network = build_model("small-cnn", n_classes=k, in_channels=channels, image_size=size, seed=seed)
        else:
            network = deepcopy(model)
            if (outputs := check_training(network, data, config)) != k:
                raise InputError(
                    f"`model` must return one logit a class ({k}: {first_few(labels.names)}), got {outputs}; give its "
                    f"last layer {k} outputs"
                )
        log = fit(
            network,
            data,
            config,
            held_out=mask,
            folder=folder() if folder else None,
            progress=(lambda at: progress(at.epoch, at.epochs)) if progress else None,
        )
        if log.status != "ok" and not log.recorder.epochs:
            raise InputError(f"the training failed: {log.status}")
        return log.recorder

    return train
