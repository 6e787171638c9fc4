"""What a training leaves in its run directory, and what its summary says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from labelnoise.devices import find_device
from labelnoise.images.data import Data
from labelnoise.record.selection import SELECTION
from labelnoise.record.stopping_points import StoppingPoint, chosen_point, describe_points, last_point, oracle_point
from labelnoise.record.sums import class_type
from labelnoise.runs.folders import RunFolder
from labelnoise.training.checkpoints import kept_epochs
from labelnoise.training.log import TrainLog
from labelnoise.training.stops import EpochStop


def write_results(folder: RunFolder, log: TrainLog, data: Data, processes: int = 1) -> None:
    """Write `history.csv`, `samples.npz` and `summary.json` of a network that so many processes trained."""
    folder.write_history(log.to_frame())
    folder.write_samples(**_samples(log, data))
    folder.finish(_summary(log, data, kept_epochs(folder.path), processes))


def _samples(log: TrainLog, data: Data) -> dict[str, np.ndarray]:
    """What is known of each sample, at each record and (margin_train) in each epoch."""
    with np.errstate(over="ignore"):  # a loss beyond 65504 is infinite in half precision
        loss = log.recorder.loss.astype(np.float16)
    return {
        "epoch": log.table["epoch"].to_numpy(),
        "margin": log.recorder.margin,
        "loss": loss,
        "prediction": log.recorder.prediction.astype(class_type(log.recorder.n_classes)),
        "margin_train": log.batches.margin,
        "y_true": data.y_true,
        "y_given": data.y_given,
        "held_out": log.held_out,
        "index": data.index,
    }


def _summary(log: TrainLog, data: Data, kept: list[int], processes: int) -> dict[str, Any]:
    return {
        "status": log.status,
        "classes": data.classes,
        "class_names": data.class_names,
        "sizes": {
            "train": len(data.y_given),
            "held_out": int(log.held_out.sum()),
            "test": len(data.y_test),
            "image": list(data.x_train.shape[1:]),
            "outputs": log.recorder.n_classes,
        },
        "noise": {
            "count": data.noisy.sum(),
            "rate": data.noise.rate,
            "rate_by_class": data.noise.rate_by_class,
            "text": str(data.noise),
        },
        "precision": log.precision,
        "device": find_device(log.config.device),
        **({"processes": processes} if processes > 1 else {}),
        "checkpoints": kept,
        "stops": _stops(log),
    }


def _stops(log: TrainLog) -> list[dict[str, Any]]:
    """Where each rule would end the run (in epochs), and what the network is worth there."""
    table = log.to_frame()
    if table.empty:
        return []
    stops, rows = log.stops, {row["epoch"]: row for row in table.to_dict("records")}
    absent = "noisy" if table["train_accuracy_noisy"].isna().all() else "clean"
    if stops.oracle is None:
        points = [oracle_point(None, f"there are no {absent} samples", {})]
    else:
        points = [oracle_point(stops.oracle, "the truth known", rows[stops.oracle])]
    if stops.held_out:
        points.append(_point("held_out", stops.held_out, rows[stops.held_out.epoch]))
    if stops.rule:
        points.append(_point("rule", stops.rule, rows[stops.rule.epoch]))
    if stops.rule and log.returned is not None:
        first, last = log.weights_epochs[0], log.weights_epochs[-1]
        averaged = replace(stops.rule, reason=f"the average of the weights of epochs {first} to {last}")
        points.append(_point("averaged", averaged, log.returned, first_epoch=first, last_epoch=last))
    points.append(last_point(table, "epoch"))
    columns = ("test_accuracy", "train_accuracy_clean", "train_accuracy_noisy", *SELECTION)
    return describe_points(points, log.config.seed, columns, gains={"test_accuracy": 1})


def _point(rule: str, stop: EpochStop, values: Mapping[Any, Any], **more: int) -> StoppingPoint:
    return chosen_point(rule, stop.epoch, stop.ended, stop.reason, stop.fall, values, **more)
