"""A training run under way: everything that the next epoch depends on, written to a checkpoint and read back."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from labelnoise.arrays import stream
from labelnoise.devices import find_device, find_precision
from labelnoise.errors import InputError
from labelnoise.images.data import Data, DeviceData
from labelnoise.record.history import EpochRecord
from labelnoise.record.inputs import read_held_out
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import StopRule
from labelnoise.record.stopping import Stop
from labelnoise.record.watching import Watch, observe_record
from labelnoise.runs.launch import Launch
from labelnoise.runs.settings import difference, settings_of
from labelnoise.training import checkpoints, processes
from labelnoise.training.config import Average, TrainConfig
from labelnoise.training.log import COLUMNS
from labelnoise.training.optimizers import BUILDERS
from labelnoise.training.stops import EpochStop, find_stops, in_epochs
from labelnoise.training.weight_stores import WeightStore

if TYPE_CHECKING:
    from jaxtyping import Bool
    from numpy.typing import ArrayLike


@dataclass(eq=False)
class TrainingState:
    """Network, optimiser, records and random generators after `epoch` epochs."""

    model: nn.Module
    data: Data
    config: TrainConfig
    images: DeviceData
    optimizer: torch.optim.Optimizer
    precision: str
    held_out: np.ndarray
    """Boolean mask (n,) of the images kept out of the training."""
    recorder: Recorder
    """All images in eval mode, a record every `eval_every` epochs."""
    batches: Recorder
    """The images in their training batches, in train mode, while the weights move."""
    orders: np.random.Generator
    """Draws the order of the images in each epoch."""
    shifts: np.random.Generator
    """Draws their augmentation."""
    own_mask: bool = False
    """Whether the caller said which images are held out."""
    watch: Watch | None = None
    """The rule that may stop the run, and what it observed; None for a run of all epochs."""
    average: Average = 1
    """Whose weights a stopped run averages, of the records around the chosen one."""
    store: WeightStore | None = None
    """The weights in memory of which a stopped run returns the average; None where they lie in files, or with another
    process."""
    group: Launch = field(default_factory=Launch)
    """Which of the processes that train this network this one is."""
    parallel: nn.Module | None = None
    """The network that averages its gradients over the processes, where there are several."""
    rows: list[dict[str, float]] = field(default_factory=list)
    """The history, a row a record."""
    epoch: int = 0
    seconds_before: float = 0.0
    """Seconds spent before this process went on with the run."""
    started: float = field(default_factory=time.perf_counter)
    saved: set[int] = field(default_factory=set)
    """Epochs whose weights the last written state needs."""
    checksums: dict[int, str] = field(default_factory=dict)
    """Of the files of weights that were written, by epoch."""

    @classmethod
    def start(
        cls,
        model: nn.Module,
        data: Data,
        config: TrainConfig,
        outputs: int,
        held_out: Bool[ArrayLike, " n"] | None = None,
        rule: StopRule | None = None,
        average: Average = 1,
        store: WeightStore | None = None,
    ) -> TrainingState:
        """Return the state before the first epoch of a network with so many outputs; the rest as `fit` takes it."""
        n, device = len(data.y_given), find_device(config.device)
        model = model.to(device)
        return cls(
            model=model,
            data=data,
            config=config,
            images=data.on(device),
            optimizer=BUILDERS[config.optimizer](model.parameters(), config),
            precision=find_precision(config.precision, device),
            held_out=_draw_held_out(n, config) if held_out is None else read_held_out(held_out, n),
            recorder=Recorder(n, outputs),
            batches=Recorder(n, outputs),
            orders=stream(config.seed, "batches"),
            shifts=stream(config.seed, "augment"),
            own_mask=held_out is not None,
            watch=None if rule is None else Watch(rule),
            average=average,
            store=store,
            group=processes.find_group(),
        )

    @property
    def rule(self) -> str:
        """The rule that may stop the run, in words; empty for a run of all epochs."""
        return repr(self.watch.rule) if self.watch else ""

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return self.images.y_given.device

    @property
    def seconds(self) -> float:
        """Seconds spent on the run."""
        return self.seconds_before + time.perf_counter() - self.started

    @property
    def is_recorded(self) -> bool:
        """Whether this epoch ends with an eval pass, and so with a record."""
        return self.epoch % self.config.eval_every == 0 or self.epoch == self.config.epochs

    def table(self) -> pd.DataFrame:
        """Return the history so far."""
        floats = {name: float for name in COLUMNS if name != "epoch"}
        return pd.DataFrame(self.rows, columns=list(COLUMNS)).astype({**floats, "epoch": int})

    def stops(self) -> tuple[int | None, Stop | None]:
        """Return the record of T1, and what the held-out rule says so far."""
        return find_stops(self.table(), int(self.held_out.sum()), self.config)

    @property
    def recorded_epochs(self) -> list[int]:
        """The epochs of the records so far."""
        return [int(row["epoch"]) for row in self.rows]

    @property
    def ended(self) -> bool:
        """Whether there is no further epoch: all were trained, or the rule has ended the run."""
        return self.epoch >= self.config.epochs or (self.watch is not None and self.watch.ended)

    @property
    def rule_stop(self) -> EpochStop | None:
        """What the rule says so far that may stop the run."""
        return in_epochs(self.watch.stop, self.recorded_epochs) if self.watch and self.watch.stop else None

    def observe(self, record: EpochRecord) -> None:
        """Let the rule, if there is one, see a record."""
        if self.watch:
            observe_record(self.watch, record.loss, record.prediction, self.data.y_given, self.held_out)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on, as tensors and plain values."""
        return {
            **self.identity,
            "epoch": self.epoch,
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "orders": json.dumps(self.orders.bit_generator.state),
            "shifts": json.dumps(self.shifts.bit_generator.state),
            "rows": self.rows,
            "records": _tensors(self.recorder.state_dict()),
            "batches": _tensors(self.batches.state_dict()),
            "precision": self.precision,
            "seconds": self.seconds,
            "checksums": self.checksums,
            "processes": self.group.size,
            **({"so_far": self.store.state_dict(), "average": self.average, "rule": self.rule} if self.store else {}),
        }

    def load_state_dict(self, state: dict[str, Any], folder: Path) -> None:
        """Go on from a state that lies in `folder`; refuse that of another run."""
        if words := self._difference(state):
            raise InputError(
                f"{folder / checkpoints.FOLDER} must hold checkpoints of this run, but {words}; choose another folder, "
                "or delete it"
            )
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_random"])
        if self.device.type == "cuda" and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"], self.device)
        for generator in ("orders", "shifts"):
            getattr(self, generator).bit_generator.state = json.loads(state[generator])
        for name, recorder in (("records", self.recorder), ("batches", self.batches)):
            recorder.load_state_dict({key: value.numpy() for key, value in state[name].items()})
        if self.store:
            self.store.load_state_dict(state["so_far"], self.model.state_dict())
        self.rows, self.epoch = list(state["rows"]), state["epoch"]
        for record in map(EpochRecord, self.recorder.margin, self.recorder.loss, self.recorder.prediction):
            self.observe(record)
        self.precision, self.seconds_before = state["precision"], state["seconds"]
        self.started, self.checksums = time.perf_counter(), dict(state.get("checksums", {}))

    def _difference(self, state: dict[str, Any]) -> str:
        """Where a saved state is one of another run, in words; empty if nowhere."""
        own, settings, network = self.identity, state.get("settings"), state.get("network")
        if state.get("columns") != own["columns"] or not (isinstance(settings, dict) and isinstance(network, dict)):
            return "those there are of another version"
        if words := difference(self.config, settings):
            return words
        if (size := state.get("processes", 1)) != self.group.size:
            return f"of a training on {size} processes, not {self.group.size}"
        # a state holds sums of weights for an average that is a word; the first such states were all of `all`
        summed = state.get("average", "all") if "so_far" in state else None
        own_summed = self.average if self.watch and isinstance(self.average, str) else None
        if summed != own_summed:
            return "those there are of a training with another average"
        if summed and state.get("rule", self.rule) != self.rule:
            return "those there are of a training by another rule"
        if words := checkpoints.shapes_difference(network, own["network"]):
            return f"of another network: {words}"
        return "" if state.get("data") == own["data"] else "those there were trained on other data"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this run from another: its record's columns, settings, network and data."""
        arrays = [getattr(self.data, name) for name in ("x_train", "y_true", "y_given", "x_test", "y_test")]
        if self.own_mask:  # one that is drawn follows from the settings
            arrays.append(self.held_out)
        return {
            "columns": list(COLUMNS),
            "settings": settings_of(self.config),
            "network": checkpoints.shapes_of(self.model.state_dict()),
            "data": [zlib.crc32(np.ascontiguousarray(array).data) for array in arrays],
        }


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _draw_held_out(n: int, config: TrainConfig) -> np.ndarray:
    """Mask (n,) of the held-out images: none for a share of 0, otherwise at least one; two are left to train on."""
    count = min(max(round(config.held_out * n), 1), n - 2) if config.held_out else 0
    held_out = np.zeros(n, dtype=bool)
    held_out[stream(config.seed, "held_out").permutation(n)[:count]] = True
    return held_out
