"""What stopping loses on the best epoch, and what averaged weights give back: regret tables.

python benchmarks/averaged_stop.py [FILE] [DATA]    (digits take about 20 minutes; needs torch and scikit-learn)

DATA is digits (small networks with and without batch norm) or tables: breast cancer and two made ones of 1,500 rows, by
a perceptron of one hidden layer of 128, a half of the rows kept for the test.

Each run is trained once to its end with a copy of the weights after every epoch; what a rule would have left is then
read off, since a stop changes nothing before it. Runs that FILE holds already, a line of JSON each, are not made again.
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import labelnoise as ln
from labelnoise.arrays import stream, torch_stream
from labelnoise.noise.words import parse_noise
from labelnoise.training.averaging import average_weights, copy_of, refresh_batch_norm, window
from labelnoise.training.passes import outputs

EPOCHS, PATIENCE, WIDTH = 60, 20, 5
WIDTHS = {"single epoch": 1, "three": 3, "five": 5, "nine": 9, "fifteen": 15, "twenty-one": 21, "thirty-one": 31}
"""Epochs around a chosen one."""
NOISES = ("symmetric:0.2", "symmetric:0.4", "pair:0.2", "none")
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {},
    "step": {"schedule": "step", "lr_steps": (20,)},
    "cosine": {"schedule": "cosine"},
}
NETWORKS = {"digits": ("small-cnn", "batch norm"), "tables": ("breast cancer", "3 classes", "8 classes")}
"""Of digits, networks; of tables, the data."""
SEEDS = (300, 301)
RULES = {
    "held-out loss": ln.HeldOutLoss(PATIENCE),
    "held-out accuracy": ln.HeldOutAccuracy(PATIENCE),
    "Label Wave": ln.LabelWave(),
    "running mean": ln.RunningMean(PATIENCE),
    "median of the first three": ln.Combined((ln.HeldOutLoss(PATIENCE), ln.HeldOutAccuracy(PATIENCE), ln.LabelWave())),
    "loss | accuracy": ln.HeldOutLoss(PATIENCE) | ln.HeldOutAccuracy(PATIENCE),
    "loss & accuracy": ln.HeldOutLoss(PATIENCE) & ln.HeldOutAccuracy(PATIENCE),
}


def build(network: str, seed: int) -> nn.Module:
    """The package's small network, three convolutions with batch norm, or a perceptron for a table."""
    if network == "small-cnn":
        return ln.build_model("small-cnn", n_classes=10, in_channels=1, image_size=(8, 8), seed=seed)
    widths = (1, 16, 32, 32)
    with torch_stream(seed, "init"):
        if network in NETWORKS["tables"]:
            columns, classes = (30, 2) if network == "breast cancer" else (20, int(network[0]))
            return nn.Sequential(nn.Linear(columns, 128), nn.ReLU(), nn.Linear(128, classes))
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        ]
        return nn.Sequential(*blocks[:2], nn.MaxPool2d(2), blocks[2], nn.Flatten(), nn.Linear(512, 10))


def load(noise: str, network: str, seed: int) -> ln.Data:
    """Digits, or the table that a network is named after, with flipped labels."""
    if network not in NETWORKS["tables"]:
        return ln.load_data("digits", label_noise=parse_noise(noise), seed=seed)
    from sklearn.datasets import load_breast_cancer, make_classification

    if network == "breast cancer":
        x, y = load_breast_cancer(return_X_y=True)
    else:
        k = int(network[0])
        x, y = make_classification(1500, 20, n_informative=8, n_classes=k, class_sep=1.5, random_state=seed)
    order = stream(seed, "split").permutation(len(y))
    half = len(y) // 2
    train, test = order[:half], order[half:]
    given = ln.flip_labels(y[train], parse_noise(noise), int(y.max()) + 1, seed).y_given
    return ln.data_from_arrays(x[train], given, y_true=y[train], x_test=x[test], y_test=y[test])


def run(noise: str, schedule: str, network: str, seed: int) -> dict[str, Any]:
    """Train once to the end, and measure every epoch, every average of five, and what each rule chooses."""
    data = load(noise, network, seed)
    config = ln.TrainConfig(epochs=EPOCHS, patience=PATIENCE, seed=seed, device="cpu", **SCHEDULES[schedule])
    model, copies = build(network, seed), []
    log = ln.fit(model, data, config, progress=lambda at: copies.append(copy_of(model.state_dict())))
    assert log.status == "ok", log.status
    worth = measure(model, data, log.held_out, copies, seed)
    table = log.to_frame()
    stops = {name: ln.find_stop(rule, log.recorder, log.held_out) for name, rule in RULES.items()}
    ends = {name: EPOCHS if stop.stopped is None else stop.stopped + 1 for name, stop in stops.items()}
    returned = {
        name: {what: worth(span)[0] for what, span in spans(stop.chosen, ends[name]).items()}
        for name, stop in stops.items()
    }
    return {
        "noise": noise, "schedule": schedule, "network": network, "seed": seed,
        "test": table["test_accuracy"].tolist(),
        "held_out_loss": table["held_out_loss"].tolist(),
        "held_out_accuracy": table["held_out_accuracy"].tolist(),
        "average": [worth(window(at, WIDTH, EPOCHS)) for at in range(EPOCHS)],
        "all": [worth(range(at + 1)) for at in range(EPOCHS)],
        "returned": returned,
        "chosen": {name: stop.chosen for name, stop in stops.items()},
        "stopped": {name: stop.stopped for name, stop in stops.items()},
        "applicable": {name: stop.applicable for name, stop in stops.items()},
        "falls": {name: stop.falls for name, stop in stops.items()},
    }  # fmt: skip


def spans(chosen: int, end: int) -> dict[str, Sequence[int]]:
    """Epochs whose weights might be averaged, from 0, by name, of a run of so many that a rule ends."""
    twice = min(2 * (chosen + 1), end)
    around = {words: window(chosen, width, end) for words, width in WIDTHS.items()}
    return around | {
        "onward": window(chosen, "onward", end),
        "all up to it": range(chosen + 1),
        "all up to twice it": range(twice),
        "all but two up to twice it": range(min(2, chosen), twice),
        "a half of it to twice it": range((chosen + 1) // 2, twice),
        "it to twice it": range(chosen, max(twice, chosen + 1)),
        "all": range(end),
    }


def measure(
    model: nn.Module, data: ln.Data, held_out: np.ndarray, copies: list[dict[str, Any]], seed: int
) -> Callable[[Sequence[int]], tuple[float, float]]:
    """A function of epochs, counted from 0: test accuracy and held-out loss of the average of their weights."""
    images, known = data.on("cpu"), {}
    order = stream(seed, "evaluation").permutation(np.flatnonzero(~held_out))
    parts = [images.normalise(images.x_train[part]) for part in np.array_split(order, -(-len(order) // 512))]
    mask = torch.as_tensor(held_out)

    def worth(epochs: Sequence[int]) -> tuple[float, float]:
        key = tuple(epochs)
        if key not in known:
            model.load_state_dict(average_weights([copies[at] for at in epochs]))
            if len(epochs) > 1:
                refresh_batch_norm(model, parts)
            right = outputs(model, images, images.x_test).argmax(1) == images.y_test
            logits = outputs(model, images, images.x_train[mask])
            loss = nn.functional.cross_entropy(logits, images.y_given[mask])
            known[key] = (float(right.float().mean()), float(loss))
        return known[key]

    return worth


def regrets(runs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Points of test accuracy below the best single epoch, a row a run and what is returned."""
    rows = []
    for each in runs:
        best, test, average = max(each["test"]), each["test"], [value for value, _ in each["average"]]
        facts = {name: each[name] for name in ("noise", "schedule", "network", "seed")}

        def add(what: str, accuracy: float, facts: dict[str, Any] = facts, best: float = best) -> None:
            rows.append({**facts, "what": what, "regret": 100 * (best - accuracy)})

        add("last epoch", test[-1])
        add("average of the last five", average[-3])
        for name, accuracies in each["returned"].items():
            for words, accuracy in accuracies.items():
                add(f"{name}: {words}", accuracy)
        add("best average of five (truth known)", max(average))
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, 90th percentile and worst regret over the runs with noise; mean and worst over the clean ones."""
    noisy, clean = table[table["noise"] != "none"], table[table["noise"] == "none"]
    groups, order = noisy.groupby("what")["regret"], table["what"].unique()
    parts = {
        "mean": groups.mean(),
        "p90": groups.quantile(0.9),
        "worst": groups.max(),
        "clean mean": clean.groupby("what")["regret"].mean(),
        "clean worst": clean.groupby("what")["regret"].max(),
    }
    return pd.DataFrame(parts).loc[order]


def make(file: Path, networks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The runs that a file holds, then those that it lacks, which are written to it."""
    held = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    yield from held
    done = {tuple(each[name] for name in ("noise", "schedule", "network", "seed")) for each in held}
    for seed, *others in product(SEEDS, NOISES, SCHEDULES, networks):  # a part of them is whole settings of one seed
        setting = (*others, seed)
        if setting not in done:
            start = time.perf_counter()
            result = run(*setting)
            with file.open("a") as lines:
                lines.write(json.dumps(result) + "\n")
            print(*setting, f"{time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            yield result


def main() -> None:
    """Print the regret tables."""
    kind = sys.argv[2] if len(sys.argv) > 2 else "digits"
    harness.describe(f"Regret of stopping on {kind}: {EPOCHS} epochs, patience {PATIENCE}, seeds {SEEDS}")
    torch.set_num_threads(harness.THREADS)
    runs = list(make(Path(sys.argv[1] if len(sys.argv) > 1 else "averaged_stop.jsonl"), NETWORKS[kind]))
    table = regrets(runs)
    count = len(table.drop_duplicates(["noise", "schedule", "network", "seed"]))
    print(f"points of test accuracy below the best single epoch, {count} runs; below 0: better than it\n")
    print(summary(table).round(2).to_string(), "\n")
    rule = table[table["what"].isin(("last epoch", "held-out loss: single epoch", "held-out loss: five"))]
    print(rule.pivot_table("regret", ["network", "schedule", "noise"], "what").round(2).to_string(), "\n")
    for name in RULES:
        noisy, clean = ([each for each in runs if (each["noise"] == "none") == absent] for absent in (False, True))
        seen = [f"{np.mean([each['falls'][name] for each in part]):.0%}" for part in (noisy, clean)]
        able = [f"{np.mean([each['applicable'][name] for each in part]):.0%}" for part in (noisy, clean)]
        print(f"{name}: sees a fall in {seen[0]} of the noisy, {seen[1]} of the clean runs; applicable in", *able)


if __name__ == "__main__":
    main()
