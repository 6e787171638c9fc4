"""Training images per second: `fit`, records included, against a loop written like the paper's released one.

OMP_NUM_THREADS=1 python benchmarks/image_throughput.py --root data
OMP_NUM_THREADS=2 python benchmarks/image_throughput.py --root data

Needs torch and scikit-learn. In `data`, or in the folder that LABELNOISE_DATA names: cifar10-airplane-automobile.npz
(x_train, y_train, x_test, y_test) and MNIST's four files; a comparison whose data are not there is left out. The
goal for VGG11 is one for processors with bfloat16 (avx512_bf16); another one trains in float32, because it would
emulate bfloat16 many times slower.
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from harness import spread, verdict
from labelnoise.devices import find_precision
from labelnoise.errors import InputError
from labelnoise.images.data import Data, load_data
from labelnoise.images.networks import build_model
from labelnoise.noise.models import Symmetric
from labelnoise.record.recorder import Recorder
from labelnoise.training.config import TrainConfig
from labelnoise.training.loop import fit

SETTING = {"lr": 0.01, "momentum": 0.9, "batch_size": 64}


class ReleasedSet(Dataset):
    """One image an item, converted and normalised as torchvision's ToTensor and Normalize do it."""

    def __init__(self, data: Data) -> None:
        self.images = np.ascontiguousarray(data.x_train.transpose(0, 2, 3, 1))  # as torchvision keeps them
        self.labels, self.mean, self.std = data.y_given.tolist(), data.mean.tolist(), data.std.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        """Return image, given label and position."""
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        mean, std = (torch.as_tensor(scale, dtype=image.dtype).view(-1, 1, 1) for scale in (self.mean, self.std))
        return image.clone().sub_(mean).div_(std), self.labels[index], index


def released_loop(model: nn.Module, data: Data) -> Callable[[], None]:
    """Return a pass in float32 as the release writes it.

    Loss and three accuracies are fetched after each batch. A mask tells the flipped samples: the release searches a
    list for each image, which is left out here in its favour, and so is its detour of each image through Pillow.
    """
    model = model.to(memory_format=torch.contiguous_format)
    loader = DataLoader(ReleasedSet(data), batch_size=SETTING["batch_size"], shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), SETTING["lr"], SETTING["momentum"])
    criterion, flipped = nn.CrossEntropyLoss(), torch.as_tensor(data.noisy)

    def train() -> None:
        model.train()
        loss_sum, right, right_flipped, right_clean = 0.0, 0, 0, 0
        for images, labels, index in loader:
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            hit, flip = outputs.argmax(1) == labels, flipped[index]
            right += hit.sum().item()
            right_flipped += (hit & flip).sum().item()
            right_clean += (hit & ~flip).sum().item()

    return train


class TimedRecorder(Recorder):
    """A recorder that counts the seconds it takes: in a pass, all that its records cost but one `torch.cat`."""

    seconds = 0.0

    def update(self, *args: object) -> None:
        """Record one batch."""
        start = time.perf_counter()
        super().update(*args)
        self.seconds += time.perf_counter() - start

    def end_epoch(self) -> object:
        """Close the epoch."""
        start = time.perf_counter()
        row = super().end_epoch()
        self.seconds += time.perf_counter() - start
        return row


def measure(model: str, outputs: int, data: Data, precision: str, rounds: int) -> dict[str, np.ndarray]:
    """Seconds (rounds,) of a pass of both loops, taken in turn after one untimed round, and of the parts of ours."""
    size = data.x_train.shape[2:]
    ours, theirs = (build_model(model, n_classes=outputs, in_channels=data.in_channels, image_size=size) for _ in "ab")
    released, seconds = released_loop(theirs, data), []
    for _ in range(rounds + 1):
        with mock.patch("labelnoise.train.Recorder", TimedRecorder):
            log = fit(ours, data, TrainConfig(epochs=1, held_out=0, precision=precision, device="cpu", **SETTING))
        if log.status != "ok":
            raise SystemExit(f"{model}: {log.status}")
        start = time.perf_counter()
        released()
        time_released = time.perf_counter() - start
        row = log.to_frame().iloc[0]
        seconds.append((row["train_seconds"], time_released, log.batches.seconds, row["eval_seconds"]))
    return dict(zip(("fit", "released", "recording", "eval"), np.array(seconds[1:]).T, strict=True))


def compare(model: str, name: str, goal: float | None, outputs: int, options: argparse.Namespace) -> None:
    """Measure and print one comparison."""
    noise = Symmetric(0.2)
    try:
        data = load_data(name, root=options.root, label_noise=noise)
        if len(data.y_given) > options.images:
            per_class = max(options.images // data.n_classes, 2)
            data = load_data(name, root=options.root, label_noise=noise, per_class=per_class)
    except InputError as error:
        print(f"{model} on {name}: left out, {error}\n")
        return
    n = len(data.y_given)
    data = replace(data, x_test=data.x_test[: n // 5], y_test=data.y_test[: n // 5])
    seconds = measure(model, outputs, data, options.precision, options.rounds)
    ratio, share = seconds["released"] / seconds["fit"], 100 * seconds["recording"] / seconds["fit"]
    met = "reported" if goal is None else verdict(float(np.median(ratio)), goal, at_least=True)
    if model == "vgg11" and find_precision("auto", "cpu") != "bf16":
        met = f"the goal of {goal:g} is one for a processor with bfloat16, which this one lacks"
    print(f"{model} on {name}: {n:,} images of {data.x_train.shape[1:]}, batch {SETTING['batch_size']}")
    print(f"  fit             {spread(n / seconds['fit'])} images/s ({find_precision(options.precision, 'cpu')})")
    print(f"  released loop   {spread(n / seconds['released'])} images/s (float32)")
    print(f"  ratio           {spread(ratio, 'x')}; {met}")
    print(f"  batch margins   {spread(share, ' %')} of the pass; {verdict(float(np.median(share)), 5, at_least=False)}")
    whole = spread(100 * seconds["eval"] / seconds["fit"], " %")
    print(f"  eval pass       {whole} of the pass, not counted above ({n:,} training and {len(data.y_test):,} test)\n")


def main() -> None:
    """Compare VGG11 on the paper's pair, the MLP on MNIST and the small network on digits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder with the data")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--precision", default="auto", help="of fit: float32, bf16, or auto (bf16 where it is native)")
    parser.add_argument("--vgg-images", type=int, default=640, help="training images of the pair")
    parser.add_argument("--images", type=int, default=6_400, help="training images of MNIST and digits, at most")
    options = parser.parse_args()
    harness.describe(f"Training throughput: medians of {options.rounds} passes, taken in turn")
    pair = argparse.Namespace(**{**vars(options), "images": options.vgg_images})
    compare("vgg11", "cifar10-airplane-automobile", 1.3, 10, pair)
    compare("mlp", "mnist", 2.0, 10, options)
    compare("small-cnn", "digits", None, 10, options)


if __name__ == "__main__":
    main()
