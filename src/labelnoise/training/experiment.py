"""The experiment on real data: one config in, one run directory out; and what such runs are. It needs torch to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from labelnoise.arrays import check_memory
from labelnoise.devices import cpu_threads
from labelnoise.errors import InputError, check_integer, did_you_mean
from labelnoise.images.architectures import NAMES
from labelnoise.images.data import Data, load_data
from labelnoise.noise.files import FromFile
from labelnoise.noise.words import parse_noise
from labelnoise.record.stop_rules import StopRule, named_rule
from labelnoise.runs.folders import RunFolder, run_experiment
from labelnoise.runs.kinds import Kind, Outcome, Progress
from labelnoise.runs.launch import find_launch
from labelnoise.runs.pages import Page, Section
from labelnoise.runs.setting_types import check_types
from labelnoise.training.config import Average, TrainConfig, check_average
from labelnoise.training.findings import describe_training
from labelnoise.training.seeds import OF_EACH_SEED, check_seeds, run_seeds

if TYPE_CHECKING:
    from torch import nn

    from labelnoise.training.log import EpochProgress


@dataclass(frozen=True)
class TrainRun:
    """Train a network on real data with flipped labels and follow every sample."""

    command: ClassVar[str] = "train"

    data: str = "digits"
    """Data set by name (digits, mnist, fashion-mnist, cifar10, cifar100), or the path of an .npz file or of a folder of
    images."""
    classes: tuple[int | str, ...] = ()
    """Original class ids, or names where the data set has them, to use in this order; none for all. Where each is a
    name, as 3 and 7 may be of folders, the name goes before the number."""
    per_class: int = 0
    """Training images of each class, drawn by the seed; 0 for all. It also balances the classes."""
    noise: str = "symmetric:0.2"
    """Label noise of the training set, kind:values[:exact]: none, symmetric:RATE, symmetric-including-true:RATE,
    class-conditional:TAU_PLUS,TAU_MINUS, pair:RATE, instance:RATE[,SPREAD], subclass:RATE[,WITHIN], matrix:FILE or
    file:FILE[:KEY]."""
    model: str = "small-cnn"
    """Network: small-cnn, mlp, vgg11 to vgg19 (also -bn), vgg16-bn-homogeneous, or resnet18 to resnet152."""
    outputs: int = 0
    """Outputs of the network; 0 for one a class. The paper uses ten for a pair of classes, too."""
    weights: str = ""
    """File of weights to start from, such as RUN/checkpoints/epoch-0012.pt or averaged.pt; none for fresh ones."""
    root: str = "data"
    """Folder in which data files are looked for."""
    threads: int = 1
    """CPU threads; the last digits of a result depend on their number."""
    stop: bool = False
    """End the run by stop-rule, and return to the average of the weights around its choice."""
    stop_rule: Literal["loss", "accuracy", "label-wave", "running-mean", "median"] = "loss"
    """What --stop goes by: held-out loss or accuracy, changes of the training predictions, the running mean of all
    predictions, or the median of the first three."""
    average: Average = "onward"
    """Whose weights --stop averages: onward (nine records, the first of them two before the chosen one), an odd
    number of records around it, 1 for that epoch alone, or all up to it, with the stop rule running-mean."""
    seeds: tuple[int, ...] = ()
    """Seeds to train side by side on the cores, a run each in one folder, in place of --seed; none for that one."""
    training: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("classes", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_integer("threads", self.threads, 1, 1)
        check_integer("per_class", self.per_class, 0, 1000)
        check_integer("outputs", self.outputs, 0, 10)
        check_average(self.average)
        if self.average == "all" and self.stop_rule != "running-mean":
            raise InputError(
                f"`average` all goes with the stop rule running-mean, got {self.stop_rule!r}; add --stop-rule "
                "running-mean, which says up to where a mean of all is best"
            )
        if self.model not in NAMES:
            raise InputError(f"`model` must name a network, got {self.model!r}{did_you_mean(str(self.model), NAMES)}")
        parse_noise(self.noise)
        check_seeds(self.seeds, self.training.seed)

    def load(self) -> Data:
        """Read the data and flip labels, the same ones each time."""
        return load_data(
            self.data,
            root=self.root,
            classes=self.classes or None,
            per_class=self.per_class or None,
            label_noise=parse_noise(self.noise),
            seed=self.training.seed,
        )

    def build(self, data: Data) -> nn.Module:
        """Build the network as it is before the first epoch."""
        from labelnoise.images.networks import build_model
        from labelnoise.training.checkpoints import load_weights

        if 0 < self.outputs < data.n_classes:
            raise InputError(f"`outputs` must be 0 or at least {data.n_classes}, got {self.outputs}; use 0 for as many")
        check_memory(4.0 * 3 * 64 * self.outputs, "lower outputs")  # weights, gradients and momentum of the last layer
        model = build_model(
            self.model,
            n_classes=self.outputs or data.n_classes,
            in_channels=data.in_channels,
            image_size=data.x_train.shape[2:],
            seed=self.training.seed,
        )
        if self.weights:
            load_weights(model, Path(self.weights))
        return model

    @property
    def rule(self) -> StopRule | Literal[False]:
        """What the run is stopped by, if it is."""
        return named_rule(self.stop_rule, self.training.patience) if self.stop else False

    def check(self) -> tuple[Data, nn.Module]:
        """Refuse what cannot be trained; return the data and the network as it is before the first epoch."""
        from labelnoise.training.checks import check_training

        self._check_stop()
        data = self.load()
        model = self.build(data)
        check_training(model, data, self.training, self.rule)
        return data, model

    def _check_stop(self) -> None:
        """Refuse settings of a stop that is not asked for; here, so that a folder that holds them can still be read."""
        for name in ("stop_rule", "average"):
            value = getattr(self, name)
            if not self.stop and value != getattr(TrainRun, name):
                raise InputError(f"`{name}` is what --stop goes by, got {value!r} without it; add --stop")

    def run(self, folder: RunFolder, progress: Progress | None = None) -> None:
        """Train, or go on where a run of these settings was interrupted, and write the result.

        `history.csv`, `samples.npz`, `checkpoints/` and `summary.json` (which holds no time); of several seeds a run
        each.
        """
        if self.seeds:
            run_seeds(self, folder, progress)
        else:
            self._train(folder, progress)

    def _train(self, folder: RunFolder, progress: Progress | None) -> None:
        """Train the one seed."""
        from labelnoise.training.loop import fit
        from labelnoise.training.processes import by_first, find_group
        from labelnoise.training.results import write_results

        def tell(at: EpochProgress) -> None:
            if progress:
                progress(at.epoch, at.epochs, _accuracies(at))

        group = find_group()
        with cpu_threads(self.threads):
            data, model = self.check()
            by_first(folder.begin, group)
            log = fit(
                model, data, self.training, stop=self.rule, average=self.average, folder=folder.path, progress=tell
            )
        by_first(lambda: write_results(folder, log, data, group.size), group)


def run_train(
    config: TrainRun, out: str | Path | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Outcome:
    """Train into a run directory, as `run_experiment` does; of processes that torchrun started, all together."""
    if find_launch().size == 1:
        return run_experiment(config, out, overwrite, progress)
    from labelnoise.training.together import run_together

    return run_together(config, out, overwrite, progress)


def _accuracies(at: EpochProgress) -> str:
    """The accuracies of an epoch's record, in words; empty without a record."""
    accuracies = {
        "clean": "train_accuracy_clean",
        "noisy": "train_accuracy_noisy",
        "test": "test_accuracy",
        "held-out": "held_out_accuracy",
    }
    values = {word: at.measures.get(column, np.nan) for word, column in accuracies.items()}
    said = ", ".join(f"{word} {value:.3f}" for word, value in values.items() if not np.isnan(value))
    return f"accuracy {said}" if said else ""


def _upgrade(settings: dict[str, Any], schema: int) -> dict[str, Any]:
    """Before schema 2 the average was by default of five; without --stop it means nothing."""
    if schema > 1:
        return settings
    return {**settings, "average": settings.get("average", 5) if settings.get("stop") else "onward"}


def _page() -> Page:
    from labelnoise.training.page import PAGE

    return PAGE


def _inputs(config: TrainRun) -> dict[str, Path]:
    """The files that a run reads; official archives are told by their own checksums."""
    from labelnoise.images.datasets import DATASETS, find_path

    inputs = {}
    if config.data not in DATASETS and (path := find_path(config.data, Path(config.root))):
        inputs["data"] = path
    noise, (kind, _, rest) = parse_noise(config.noise), config.noise.partition(":")
    if isinstance(noise, FromFile):
        inputs["noise"] = Path(noise.path)
    elif kind == "matrix":
        inputs["noise"] = Path(rest)
    if config.weights:
        inputs["weights"] = Path(config.weights)
    return inputs


def _fetch(config: TrainRun, progress: Progress) -> None:
    from labelnoise.images.datasets import read_source

    read_source(config.data, Path(config.root), config.training.seed, download=True, progress=progress)


def _read_released(path: Path) -> Section:
    from labelnoise.training.released import read_released_section

    return read_released_section(path)


KIND = Kind(
    TrainRun,
    page=_page,
    summary=("noise", "stops"),
    results=("history.csv", "samples.npz", *OF_EACH_SEED),
    files=("attribution.json", "attribution.npz", "checkpoints/*.pt"),
    checked=("checkpoints/epoch-*.pt", "checkpoints/averaged.pt"),
    transient=("checkpoints/state.pt",),
    upgrade=_upgrade,
    inputs=_inputs,
    fetch=_fetch,
    execute=run_train,
    findings=describe_training,
    foreign=_read_released,
)
