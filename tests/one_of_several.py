"""What `training/test_processes.py` runs in each of two processes."""

from dataclasses import replace

import numpy as np
import torch
from torch import distributed, nn

from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.noise.models import Symmetric
from labelnoise.training.config import TrainConfig
from labelnoise.training.loop import fit


class Double(nn.Module):
    """A network in float64, without batch norm or dropout."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2)).double()

    def forward(self, images):
        return self.layers(images.double())


class Masked(nn.Module):
    """A linear network with dropout; it keeps the sums of its masks and the number of images of each batch."""

    def __init__(self):
        super().__init__()
        self.head, self.dropout, self.masks, self.sizes = nn.Linear(64, 2), nn.Dropout(0.5), [], []

    def forward(self, images):
        if self.training:
            self.masks.append(self.dropout(torch.ones(40)).numpy())
            self.sizes.append(len(images))
        return self.head(self.dropout(images.flatten(1)))


def normed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


NETWORKS = {"double": Double, "masked": Masked, "normed": normed}
CONFIG = TrainConfig(epochs=1, lr=0.1, batch_size=29, device="cpu", eval_every=1, checkpoint_every=1)


def data():
    return load_data("digits", classes=(3, 8), label_noise=Symmetric(0.3), seed=0, per_class=60)


def trained(network, **how):
    """The log of a training, and the network."""
    torch.manual_seed(0)
    model, config = NETWORKS[network](), replace(CONFIG, **how.pop("config", {}))
    return fit(model, data(), config, **how), model


def results(log, model):
    """What is compared, as arrays."""
    weights = {f"weights.{name}": values.detach().numpy() for name, values in model.state_dict().items()}
    margins = {"margin": np.array(log.recorder.margin), "margin_train": np.array(log.batches.margin)}
    return {**weights, **margins, "loss": log.table["test_loss"].to_numpy(), "status": np.array(log.status)}


class Interrupted(Exception):
    """Raised in the middle of a training."""


def interrupt(at):
    if at.epoch == 2:
        raise Interrupted


def cases(folder):
    yield "double", results(*trained("double", config={"augment": True, "batch_size": 35}))
    yield "normed", results(*trained("normed", config={"epochs": 2}))
    three = {"config": {"epochs": 3}}
    log, model = trained("masked", **three)
    yield "masked", {**results(log, model), "masks": np.array(model.masks), "sizes": np.array(model.sizes)}
    try:
        trained("masked", **three, folder=folder / "run", progress=interrupt)
    except Interrupted:
        yield "gone on", results(*trained("masked", **three, folder=folder / "run"))
    log, model = trained("normed", stop=True, config={"epochs": 12, "patience": 3}, folder=folder / "stopped")
    yield "stopped", {**results(log, model), "returned": np.array(log.returned["test_loss"])}
    yield "diverged", results(*trained("double", config={"lr": 1e200}))
    try:
        trained("double", config={"batch_size": 3})
    except InputError as refusal:
        yield "refused", {"said": np.array(str(refusal))}
    try:
        path = folder / "stopped" if distributed.get_rank() == 0 else None
        trained("double", folder=path)
    except InputError as refusal:
        yield "another run", {"said": np.array(str(refusal))}


def train_all(rank, place):
    """Train each case as the process of this rank of two that meet in a folder, and leave the results there."""
    distributed.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=2)
    for name, arrays in cases(place):
        np.savez(place / f"{name}-{rank}.npz", **arrays)
    distributed.destroy_process_group()
