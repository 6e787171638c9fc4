"""What is trained: networks by `labelnoise.fit`, a small network for tables, a linear model for texts, boosting.

Each learner trains on given labels, shows its outputs after every epoch to a `watch`, and holds a tenth of the samples
out. `watch(outputs, averaged)` gets two functions of samples: logits of the network as it is, and pairs (epoch, logits)
of networks whose weights are the average of the five epochs around that one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sources import Source
from torch import nn

import labelnoise as ln
from labelnoise.arrays import stream, torch_stream
from labelnoise.training.config import learning_rate

Outputs = Callable[[Any], np.ndarray]
Averaged = Callable[[Any], list[tuple[int, np.ndarray]]]
Watch = Callable[[Outputs, Averaged], None]
AROUND = 2
"""Epochs on each side of the one that an average is centred at."""
STATISTICS = 1_024
"""Training images of which averaged weights take their statistics of batch norm."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training left of its n samples: (T, n) each, in eval mode, held-out ones included."""

    margin: np.ndarray
    loss: np.ndarray
    prediction: np.ndarray
    held_out: np.ndarray
    seconds: float
    """CPU seconds of the training with its records: other work on the machine does not count."""
    watching: float = 0.0
    """CPU seconds that the watch took beside it."""


@dataclass(frozen=True)
class Learner:
    """A model with how it is trained."""

    epochs: int
    lr: float = 0.05
    batch_size: int = 32
    network: Callable[[int, int], nn.Module] | str = ""
    """A name of `build_model`, or a constructor from the number of features (channels) and of classes."""
    kind: str = "images"

    def config(self, schedule: str, seed: int, epochs: int | None = None) -> ln.TrainConfig:
        """The settings of a training: drops to a tenth after one and two thirds of the epochs for `step`."""
        epochs = epochs or self.epochs
        steps = (epochs // 3,) if schedule == "step" else ()
        return ln.TrainConfig(
            epochs=epochs, lr=self.lr, batch_size=self.batch_size, schedule=schedule, lr_steps=steps, seed=seed,
            device="cpu",
        )  # fmt: skip

    def train(self, source: Source, y_given: np.ndarray, schedule: str, seed: int, watch: Watch) -> Trained:
        """Train on the given labels of all of `source`, but a tenth that is held out."""
        watched = 0.0

        def timed(outputs: Outputs, averaged: Averaged) -> None:
            nonlocal watched
            begun = time.process_time()
            watch(outputs, averaged)
            watched += time.process_time() - begun

        start = time.process_time()
        arrays = KINDS[self.kind](self, source, y_given, self.config(schedule, seed, source.epochs), timed)
        return Trained(*arrays, time.process_time() - start - watched, watched)


class Averages:
    """Averages of the weights of the epochs c - 2 .. c + 2, as soon as the last of them is there."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.kept: list[dict[str, Any] | None] = []

    def add(self, weights: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Take the weights of the next epoch; give (centre, average) of every window that it completes."""
        now = len(self.kept)
        self.kept.append(weights)
        centres = [now - AROUND] if now >= AROUND else []
        if now == self.epochs - 1:
            centres = range(max(now - AROUND, 0), self.epochs)
        for centre in centres:
            window = [self.kept[e] for e in range(max(centre - AROUND, 0), min(centre + AROUND, now) + 1)]
            yield centre, {name: sum(part[name] for part in window) / len(window) for name in weights}
        if now > 2 * AROUND:
            self.kept[now - 2 * AROUND - 1] = None


def _fit_images(learner: Learner, source: Source, y_given: np.ndarray, config: ln.TrainConfig, watch: Watch):
    data = replace(source.images, x_train=source.x, y_true=y_given, y_given=y_given)
    size, channels = data.x_train.shape[2:], data.in_channels
    if isinstance(learner.network, str):
        model = ln.build_model(
            learner.network, n_classes=source.n_classes, in_channels=channels, image_size=size, seed=config.seed
        )
    else:
        with torch_stream(config.seed, "init"):
            model = learner.network(channels, source.n_classes).to(memory_format=torch.channels_last)
    on_device = data.on("cpu")
    averages = Averages(config.epochs)

    def after_epoch(*progress: Any) -> None:
        watch(*_views(model, lambda x: on_device.normalise(torch.as_tensor(x)), averages, source.x))
        model.train()

    log = ln.fit(model, data, config, progress=after_epoch)
    record = log.recorder
    return record.margin[:], record.loss[:], record.prediction[:], log.held_out


def _views(model: nn.Module, prepare: Callable[[Any], torch.Tensor], averages: Averages, x_train: Any):
    """The two functions of a watch, for a torch network."""

    @torch.no_grad()
    def logits(net: nn.Module, x: Any) -> np.ndarray:
        net.eval()
        return torch.cat([net(part) for part in prepare(x).split(512)]).numpy()

    ready = list(averages.add({k: v.clone().float() for k, v in model.state_dict().items()}))

    @torch.no_grad()
    def averaged(x: Any) -> list[tuple[int, np.ndarray]]:
        outputs = []
        for centre, weights in ready:
            net = deepcopy(model)
            net.load_state_dict(weights)
            norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
            if norms:  # statistics of the averaged weights, as a cumulative mean over training images
                for layer in norms:
                    layer.reset_running_stats()
                    layer.momentum = None
                net.train()
                for part in prepare(x_train[:STATISTICS]).split(256):
                    net(part)
            outputs.append((centre, logits(net, x)))
        return outputs

    return lambda x: logits(model, x), averaged


def _fit_table(learner: Learner, source: Source, y_given: np.ndarray, config: ln.TrainConfig, watch: Watch):
    with torch_stream(config.seed, "init"):
        net = learner.network(source.x.shape[1], source.n_classes)
    x, y = torch.as_tensor(source.x), torch.as_tensor(y_given)
    held_out, rng = _held_out(len(y), config.seed), stream(config.seed, "batches")
    rows, optimizer = np.flatnonzero(~held_out), torch.optim.SGD(net.parameters(), lr=config.lr, momentum=0.9)
    recorder, averages = ln.Recorder(len(y), source.n_classes), Averages(config.epochs)
    for epoch in range(1, config.epochs + 1):
        optimizer.param_groups[0]["lr"] = learning_rate(config, epoch)
        net.train()
        for batch in torch.as_tensor(rng.permutation(rows)).split(config.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        outputs, averaged = _views(net, torch.as_tensor, averages, source.x)
        recorder.update(np.arange(len(y)), outputs(source.x), y_given)
        recorder.end_epoch()
        watch(outputs, averaged)
    return recorder.margin[:], recorder.loss[:], recorder.prediction[:], held_out


def _fit_text(learner: Learner, source: Source, y_given: np.ndarray, config: ln.TrainConfig, watch: Watch):
    """Passes of stochastic gradient descent on a linear model.

    Its default steps are so large at first that the first pass memorises a quarter of the wrong labels.
    """
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss", alpha=1e-6, learning_rate="constant", random_state=config.seed)
    held_out, rng = _held_out(len(y_given), config.seed), stream(config.seed, "batches")
    rows, recorder = np.flatnonzero(~held_out), ln.Recorder(len(y_given), source.n_classes)
    averages = Averages(config.epochs)
    for epoch in range(1, config.epochs + 1):
        order = rng.permutation(rows)
        model.set_params(eta0=learning_rate(config, epoch))
        model.partial_fit(source.x[order], y_given[order], classes=np.arange(source.n_classes))
        weights = {"coef_": model.coef_.copy(), "intercept_": model.intercept_.copy()}
        ready = list(averages.add(weights))

        def averaged(x: Any, ready: list = ready) -> list[tuple[int, np.ndarray]]:
            return [(centre, x @ part["coef_"].T + part["intercept_"]) for centre, part in ready]

        def outputs(x: Any) -> np.ndarray:
            return np.log(np.maximum(model.predict_proba(x), 1e-12))

        recorder.update(np.arange(len(y_given)), outputs(source.x), y_given)
        recorder.end_epoch()
        watch(outputs, averaged)
    return recorder.margin[:], recorder.loss[:], recorder.prediction[:], held_out


def _fit_boosting(learner: Learner, source: Source, y_given: np.ndarray, config: ln.TrainConfig, watch: Watch):
    """Stages of gradient boosting as epochs; there are no weights to average."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    held_out = _held_out(len(y_given), config.seed)
    model = HistGradientBoostingClassifier(
        max_iter=config.epochs, learning_rate=config.lr, early_stopping=False, random_state=config.seed
    ).fit(source.x[~held_out], y_given[~held_out])
    known = np.searchsorted(np.arange(source.n_classes), model.classes_)
    recorder, stages = ln.Recorder(len(y_given), source.n_classes), {}

    def staged(x: Any) -> list[np.ndarray]:
        if id(x) not in stages:
            stages[id(x)] = list(model.staged_predict_proba(x))
        return stages[id(x)]

    for stage in range(config.epochs):

        def outputs(x: Any, stage: int = stage) -> np.ndarray:
            logits = np.full((len(x), source.n_classes), -30.0)
            logits[:, known] = np.log(np.maximum(staged(x)[stage], 1e-12))
            return logits

        recorder.update(np.arange(len(y_given)), outputs(source.x), y_given)
        recorder.end_epoch()
        watch(outputs, lambda x: [])
    return recorder.margin[:], recorder.loss[:], recorder.prediction[:], held_out


def _held_out(n: int, seed: int) -> np.ndarray:
    mask = np.zeros(n, dtype=bool)
    mask[stream(seed, "held_out").permutation(n)[: round(0.1 * n)]] = True
    return mask


def _mlp(features: int, n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, n_classes))


def _cnn_bn(channels: int, n_classes: int) -> nn.Module:
    """The package's small-cnn with batch norm after each convolution."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, n_classes),
    )  # fmt: skip


KINDS = {"images": _fit_images, "table": _fit_table, "text": _fit_text, "boosting": _fit_boosting}
LEARNERS = {
    "small-cnn": Learner(40, network="small-cnn"),
    "small-cnn-bn": Learner(40, network=_cnn_bn),
    "mlp": Learner(60, lr=0.01, batch_size=64, network=_mlp, kind="table"),
    "linear": Learner(20, lr=0.3, kind="text"),
    "boosting": Learner(60, lr=0.2, kind="boosting"),
}
"""Each learner by name."""
