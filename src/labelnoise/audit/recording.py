"""Trainings that are recorded to be audited: a model for each kind of sample, or one of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import stream
from labelnoise.audit.labels import GivenLabels
from labelnoise.audit.materials import Material, MaterialKind
from labelnoise.audit.recorded import RecordedTraining, read_training
from labelnoise.errors import InputError, described
from labelnoise.record.recorder import Recorder

if TYPE_CHECKING:
    from jaxtyping import Bool

    from labelnoise.audit.kept_trainings import KeptTrainings

FOLDS: dict[MaterialKind, int] = {"table": 3, "text": 5, "dense": 5, "image": 1}
"""Trainings by default; where they are dear, one."""
DEAR = 5_000_000
"""Numbers in vectors from which on one training is the default."""
FEW_IMAGES = 2_000
"""Images up to which three trainings are the default: a tenth of them says too little of the rate."""
BATCHES = 50
"""Batches of a pass over few vectors; of many, each holds 200."""
HELD_OUT = 0.1
"""Share held out of a single training."""
STAGES, PASSES, EPOCHS = 60, {"text": 6, "dense": 12, "dear": 6}, 30
"""Boosting stages of a table, passes over texts, few vectors and many, epochs over images."""
LEAF = 20
"""Samples of a leaf of a tree, at least; of fewer than 100 rows a fifth, or a tree of 30 rows could split nothing."""
BOOSTED = 20
"""Classes up to which a table is boosted; beyond, a tree for each class and stage takes too long."""


def held_out_masks(labels: GivenLabels, folds: int, seed: int) -> list[Bool[np.ndarray, " n"]]:
    """Return the samples that each training holds out, evenly from all classes.

    With one fold, a tenth; with more, each sample is held out once. A class of one sample is never held out, since
    without it no training would know of the class.
    """
    generator = stream(seed, "audit")
    n, counts = labels.positions.size, labels.counts
    order = generator.permutation(n)
    order = order[np.argsort(labels.positions[order], kind="stable")]  # by class, in random order within
    start = np.cumsum(counts) - counts
    rank = np.empty(n, int)
    rank[order] = np.arange(n) - np.repeat(start, counts)
    single = counts[labels.positions] == 1
    if folds == 1:
        turn = (rank + 0.5) * HELD_OUT + generator.random(counts.size)[labels.positions]
        mask = (np.floor(turn + HELD_OUT) > np.floor(turn)) & ~single
        return [mask if mask.any() else ~single & (rank == 0)]
    part = (rank + generator.integers(folds, size=counts.size)[labels.positions]) % folds
    return [(part == fold) & ~single for fold in range(folds)]


def record_trainings(
    material: Material,
    labels: GivenLabels,
    model: Any,
    folds: int | None,
    seed: int,
    progress: Any = None,
    kept: KeptTrainings | None = None,
    name: str = "training",
) -> tuple[list[RecordedTraining], str]:
    """Train once a fold, and return what each training says, and in words what was trained.

    Args:
        material: the samples.
        labels: their given labels.
        model: None for the default of the kind; a classifier of scikit-learn, of which clones are fitted; or a torch
            module, of which copies are trained.
        folds: trainings, each sample held out in one; 1 holds a tenth out of one training; None for the default.
        seed: of folds, weights and batches.
        progress: called as progress(done, total, name) after each training.
        kept: where the records of trainings lie that an interrupted run had finished; None keeps none.
        name: of these trainings, for `progress` and `kept`.

    Raises:
        InputError: a model that is none, or that fails on these data.
    """
    record, words, default = _choose(material, labels, model)
    count = default if folds is None else folds
    least = int(labels.counts.max())
    if count > least:
        raise InputError(f"`folds` must be at most the size of the largest class ({least}), got {count}; lower it")
    trainings = []
    for fold, mask in enumerate(held_out_masks(labels, count, seed)):
        train = partial(record, mask, training_seed(seed, fold))
        recorder, said = kept.record(f"{name}-{fold + 1}", train, labels, mask, words) if kept else (train(), "")
        trainings.append(read_training(recorder, mask))
        if progress:
            progress(fold + 1, count, f"{name} {fold + 1} of {count}" + (f": {said}" if said else ""))
    return trainings, f"{words}; " + (
        f"{count} trainings, each sample held out of one"
        if count > 1
        else "one training, a tenth of the samples held out"
    )


def training_seed(seed: int, fold: int) -> int:
    """Return the seed of a fold's weights and batches: no fold of one audit trains as another one of the next seed."""
    return int(stream(seed, "audit", fold).integers(2**63))


Record = Callable[[np.ndarray, int], Recorder]


def _choose(material: Material, labels: GivenLabels, model: Any) -> tuple[Record, str, int]:
    """How a training is recorded, what it is in words, and how many there are by default."""
    if model is None:
        return _default(material, labels)
    if _is_module(model):
        return _network(material, labels, model), f"{type(model).__name__}, as given", 1
    if isinstance(model, type) or not (hasattr(model, "fit") and hasattr(model, "get_params")):
        raise InputError(
            f"`model` must be a classifier of scikit-learn or a torch module, got {described(model)}; give an object"
        )
    return _classifier(material, labels, model), f"{type(model).__name__}, as given", FOLDS["table"]


def _is_module(model: Any) -> bool:
    """Whether it is a torch module; torch is loaded already if it is."""
    return any(base.__module__.startswith("torch.nn") for base in type(model).__mro__)


def _default(material: Material, labels: GivenLabels) -> tuple[Record, str, int]:
    if material.kind == "image":
        return _network(material, labels, None), f"small-cnn, {EPOCHS} epochs", _folds(material)
    if material.kind == "text":
        words = f"TF-IDF and a linear model, {PASSES['text']} passes"
    elif material.kind == "table" and len(labels.classes) <= BOOSTED:
        words = f"gradient boosting, {STAGES} stages"
    else:
        words = f"a perceptron of one hidden layer, {_passes(material)} passes"
    return lambda mask, seed: _record_default(material, labels, mask, seed), words, _folds(material)


def _folds(material: Material) -> int:
    few = material.kind == "image" and material.n <= FEW_IMAGES
    return 1 if _is_dear(material) else 3 if few else FOLDS[material.kind]


def _is_dear(material: Material) -> bool:
    return material.kind == "dense" and material.samples.size > DEAR


def _passes(material: Material) -> int:
    return PASSES["dear" if _is_dear(material) else "dense"]


def _record_default(material: Material, labels: GivenLabels, mask: np.ndarray, seed: int) -> Recorder:
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from labelnoise.adapters.sklearn import record_passes, record_stages

    seed %= 2**32
    if material.kind == "table" and len(labels.classes) <= BOOSTED:
        from sklearn.ensemble import HistGradientBoostingClassifier

        boosting = HistGradientBoostingClassifier(
            max_iter=STAGES,
            max_leaf_nodes=8,
            min_samples_leaf=min(LEAF, material.n // 5),
            early_stopping=False,
            categorical_features="from_dtype",
            random_state=seed,
        )
        return record_stages(boosting, material.samples, labels.positions, held_out=mask)
    if material.kind == "text":
        linear = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=seed)
        return record_passes(linear, tfidf(material.samples), labels.positions, PASSES["text"], held_out=mask)
    batch = int(np.clip(material.n // BATCHES, 8, 200))
    network = MLPClassifier((64,), batch_size=batch, random_state=seed)
    samples = encoded(material)
    pipeline = make_pipeline(StandardScaler(copy=material.kind == "dense"), network)
    return record_passes(pipeline, samples, labels.positions, _passes(material), held_out=mask)


def tfidf(texts: Sequence[str]) -> Any:
    """Return the TF-IDF matrix (n, words) of texts, float32."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    for least in (2, 1):  # words of one text alone say nothing, unless there are no others
        try:
            return TfidfVectorizer(min_df=least, sublinear_tf=True, dtype=np.float32).fit_transform(texts)
        except ValueError:
            continue
    raise InputError("`X` must hold texts with words of two letters or more, got none; give the column of the texts")


def encoded(material: Material) -> np.ndarray:
    """Return samples as numbers (n, d) float32: a column a category, the median for a missing number."""
    if material.kind == "dense":
        return material.samples
    if material.kind == "image":
        return material.samples.reshape(material.n, -1).astype(np.float32)
    import pandas as pd

    frame = material.samples
    numbers = frame.select_dtypes("number")
    numbers = numbers.fillna(numbers.median()).fillna(0.0)
    rest = frame.drop(columns=numbers.columns)
    rest = pd.get_dummies(rest, dtype=np.float32) if rest.shape[1] else rest
    return np.hstack([numbers.to_numpy(np.float32), rest.to_numpy(np.float32)])


def _classifier(material: Material, labels: GivenLabels, model: Any) -> Record:
    """A clone of a classifier a training; one without stages or passes is one epoch, of what was held out."""
    from sklearn.base import clone

    from labelnoise.adapters.sklearn import record_passes, record_stages

    last = model[-1] if hasattr(model, "steps") else model
    samples = material.samples
    if material.kind != "text":
        samples = encoded(material) if material.kind != "table" or last is model else material.samples
    elif last is model:
        samples = tfidf(material.samples)

    def record(mask: np.ndarray, seed: int) -> Recorder:
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

    return record


def _record_fit(model: Any, samples: Any, labels: GivenLabels, mask: np.ndarray) -> Recorder:
    """One epoch of a model that has none: what it says of the samples that it never saw."""
    if not hasattr(model, "predict_proba"):
        raise InputError(
            f"`model` must give probabilities (`predict_proba`), got {type(model).__name__}; take another one, or wrap "
            "it in CalibratedClassifierCV"
        )
    pick = (lambda rows: [samples[at] for at in rows]) if isinstance(samples, list) else None
    rows = samples.iloc if hasattr(samples, "iloc") else samples
    inside, outside = np.flatnonzero(~mask), np.flatnonzero(mask)
    model.fit(pick(inside) if pick else rows[inside], labels.positions[inside])
    chances = np.full((outside.size, len(labels.classes)), np.finfo(np.float32).tiny)
    chances[:, model.classes_] = np.maximum(
        model.predict_proba(pick(outside) if pick else rows[outside]), chances[0, 0]
    )
    recorder = Recorder(labels.positions.size, len(labels.classes), held_out=mask)
    recorder.update(outside, np.log(chances), labels.positions[outside])
    recorder.end_epoch()
    return recorder


def _network(material: Material, labels: GivenLabels, model: Any) -> Record:
    """Copies of a network, trained by `fit` on images or vectors; without one, small-cnn."""

    def record(mask: np.ndarray, seed: int) -> Recorder:
        from labelnoise.images.from_arrays import data_from_arrays
        from labelnoise.images.networks import build_model
        from labelnoise.training.config import TrainConfig
        from labelnoise.training.loop import fit

        if material.kind == "text":
            raise InputError("`model` must be a classifier of scikit-learn for texts, got a torch module; embed them")
        samples = material.samples if material.kind == "image" else encoded(material)
        data = data_from_arrays(samples, labels.positions)
        k = len(labels.classes)
        network = (
            deepcopy(model)
            if model is not None
            else build_model(
                "small-cnn", n_classes=k, in_channels=samples.shape[1], image_size=samples.shape[2:], seed=seed
            )
        )
        log = fit(network, data, TrainConfig(epochs=EPOCHS, seed=seed), held_out=mask)
        if log.status != "ok" and not log.recorder.epochs:
            raise InputError(f"the training failed: {log.status}")
        return log.recorder

    return record
