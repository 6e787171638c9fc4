"""What a stopped training of the harness should return: rules by the epochs whose weights are averaged.

python benchmarks/detection/windows.py --data-root data --out runs/detection        (40 minutes on one core)
python benchmarks/detection/windows.py --names breast-cancer_mlp digits_small-cnn   (settings whose names start so)

The settings are those of which `run.py` left a first training in --out; texts and boosting are left out. Each is
trained again with a copy of the weights after every epoch, and is a line of JSON in OUT/windows.jsonl; one that is
there is not trained again.

The best single epoch is the best of forty or sixty by the same test samples that judge it, so a part of what it is
better by is chance. "Against half" takes the best epoch of a random half of them, judged by the other half.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import learners
import numpy as np
import pandas as pd
import torch
from grid import CHOOSING
from learners import LEARNERS, STATISTICS
from records import Setting, labels_of
from sources import Source, load_source

import averaged_stop
import labelnoise as ln
from labelnoise.arrays import stream
from labelnoise.training.averaging import average_weights, copy_of, refresh_batch_norm

torch.set_num_threads(harness.THREADS)
HALVINGS = 50
"""Random halves of the test samples."""
Prepare = Callable[[Any], torch.Tensor]


class Copies:
    """Weights after every epoch of a training by `learners`, in place of its averages of five."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Any]] = []
        self.model, self.prepare = torch.nn.Module(), torch.as_tensor

    def views(self, model: torch.nn.Module, prepare: Prepare, averages: Any, x_train: Any) -> tuple[Any, Any]:
        """What a learner shows to its watch: logits, and no averages."""
        self.model, self.prepare = model, prepare
        self.weights.append(copy_of(model.state_dict()))
        return lambda x: _logits(model, prepare(x)).numpy(), lambda x: []


@torch.no_grad()
def _logits(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    model.eval()
    return torch.cat([model(part) for part in x.split(512)])


def trained(setting: Setting, root: Path) -> dict[str, Any]:
    """Train one setting to its end; test accuracy of every epoch, and of what each rule and window would return."""
    source, copies = load_source(setting.data, root, setting.seed), Copies()
    given, learner = labels_of(setting, source), LEARNERS[setting.learner]
    before, learners._views = learners._views, copies.views
    try:
        left = learner.train(source, given, setting.schedule, setting.training_seed, lambda outputs, averaged: None)
    finally:
        learners._views = before
    recorder = ln.Recorder(given.size, source.n_classes)
    classes = {"prediction": left.prediction.astype(np.int32), "given": given.astype(np.int64)}
    recorder.load_state_dict({"margin": left.margin, "loss": left.loss, **classes})
    right, epochs = _right(copies, source, left.held_out, setting.training_seed), len(copies.weights)

    def worth(span: Sequence[int]) -> float:
        return float(right(span).mean())

    returned = {}
    for name, rule in averaged_stop.RULES.items():
        stop = ln.find_stop(rule, recorder, left.held_out)
        end = epochs if stop.stopped is None else stop.stopped + 1
        returned[name] = {what: worth(span) for what, span in averaged_stop.spans(stop.chosen, end).items()}
    singles, fives = ([worth(averaged_stop.window(at, width, epochs)) for at in range(epochs)] for width in (1, 5))
    return {
        "name": setting.name, "test": singles, "average": fives, "all": worth(range(epochs)), "returned": returned,
        "noisy": bool((given != source.y).any()),
        "best of half": best_of_half(np.array([right([at]) for at in range(epochs)]), setting.training_seed),
    }  # fmt: skip


def best_of_half(right: np.ndarray, seed: int) -> float:
    """Test accuracy of the epoch that is best by a half of the test samples, judged by the other half: mean of many.

    Args:
        right: (epochs, samples) whether an epoch is right about a test sample.
        seed: of the halves.
    """
    rng, worths = stream(seed, "evaluation", 1), []
    for _ in range(HALVINGS):
        order = rng.permutation(right.shape[1])
        first, second = np.array_split(order, 2)
        worths.append(right[right[:, first].mean(axis=1).argmax(), second].mean())
    return float(np.mean(worths))


def _right(copies: Copies, source: Source, held_out: np.ndarray, seed: int) -> Callable[[Sequence[int]], np.ndarray]:
    """A function of epochs, from 0: which test samples the mean of their weights is right about."""
    model, known, x_test = deepcopy(copies.model), {}, copies.prepare(source.x_test)
    order = stream(seed, "evaluation").permutation(np.flatnonzero(~held_out))[:STATISTICS]
    parts = copies.prepare(source.x[order]).split(256)

    def right(epochs: Sequence[int]) -> np.ndarray:
        key = tuple(epochs)
        if key not in known:
            model.load_state_dict(average_weights([copies.weights[at] for at in epochs]))
            if len(epochs) > 1:
                refresh_batch_norm(model, parts)
            known[key] = _logits(model, x_test).argmax(1).numpy() == source.y_test
        return known[key]

    return right


def regrets(lines: Sequence[dict[str, Any]], half: bool = False) -> pd.DataFrame:
    """Points of test accuracy below the best epoch, by all test samples or half; a row for all that is returned."""
    rows = []
    for line in lines:
        setting, best = Setting.from_name(line["name"]), line["best of half"] if half else max(line["test"])
        facts = {
            "half": "choosing" if setting.seed in CHOOSING else "reporting", "noisy": line["noisy"],
            "place": f"{setting.data} {setting.learner}", "schedule": setting.schedule,
        }  # fmt: skip
        known = {f"{rule}: {what}": value for rule, each in line["returned"].items() for what, value in each.items()}
        known |= {"all epochs to the end": line["all"], "best average of five (truth known)": max(line["average"])}
        rows += [{**facts, "what": what, "regret": 100 * (best - value)} for what, value in known.items()]
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of the data sets, of all and by schedule where labels are wrong; mean and worst of the clean trainings."""
    noisy, clean = table[table["noisy"]], table[~table["noisy"]]
    groups = noisy.groupby("what", sort=False)["regret"]
    of_sets = [
        part.groupby(["what", "place"])["regret"].mean().groupby("what").mean() for part in (noisy, clean)
    ]  # each data set counts once
    schedules = noisy.pivot_table("regret", "what", "schedule")
    parts = {
        "mean of data sets": of_sets[0], "mean": groups.mean(), "p90": groups.quantile(0.9), "worst": groups.max(),
        "clean": of_sets[1], "clean worst": clean.groupby("what")["regret"].max(), **schedules,
    }  # fmt: skip
    return pd.DataFrame(parts).loc[list(groups.groups)]


def _lines(settings: Sequence[Setting], root: Path, file: Path) -> Iterator[dict[str, Any]]:
    """Those that a file holds, and those that it lacks, which are written to it."""
    held = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    held = [line for line in held if "best of half" in line]  # older ones lack it
    known = {line["name"]: line for line in held}
    for setting in settings:
        if setting.name not in known:
            known[setting.name] = trained(setting, root)
            with file.open("a") as lines:
                lines.write(json.dumps(known[setting.name]) + "\n")
            print(setting.name, file=sys.stderr, flush=True)
        yield known[setting.name]


def main() -> None:
    """Print a table for each half of the seeds, the least mean first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", default=[""], help="how the names of the settings start")
    parser.add_argument("--data-root", default=os.environ.get("LABELNOISE_DATA", "data"), help="folder with data")
    parser.add_argument("--out", default="runs/detection", help="where run.py left its trainings")
    arguments = parser.parse_args()
    harness.describe("What a stopped training should return")
    out = Path(arguments.out)
    stems = [path.stem for path in sorted(out.glob("*.npz")) if not path.stem.endswith(".folds")]
    every = [Setting.from_name(stem) for stem in stems if stem.startswith(tuple(arguments.names))]
    wanted = [each for each in every if not each.member and LEARNERS[each.learner].kind in ("images", "table")]
    lines = list(_lines(wanted, Path(arguments.data_root), out / "windows.jsonl"))
    for words, half in (("", False), (", against half", True)):
        for seeds, part in regrets(lines, half).groupby("half"):
            print(f"\n{seeds} seeds{words}\n\n{summary(part).sort_values('mean of data sets').round(2).to_string()}")


if __name__ == "__main__":
    main()
