"""Every network is trained, saved, loaded and resumed; tests/test_explain.py explains each by both methods."""

import numpy as np
import pytest
import torch

from helpers import assert_close
from labelnoise.images.data import load_data
from labelnoise.images.networks import NETWORKS
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.training import checkpoints
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.loop import fit

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = ("small-cnn", "mlp")
ZOO = [name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive) for name in NETWORKS]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Sixteen bright and sixteen dark colour images of 16 x 16."""
    rng = np.random.default_rng(2)
    content = {}
    for part, n in (("train", 32), ("test", 8)):
        y = np.arange(n) % 2
        x = rng.integers(0, 120, (n, 3, 16, 16)) + 120 * y[:, None, None, None]
        content |= {f"x_{part}": x.astype(np.uint8), f"y_{part}": y}
    path = tmp_path_factory.mktemp("zoo") / "images.npz"
    np.savez(path, **content)
    return path


def config(images, name):
    training = TrainConfig(epochs=2, lr=0.01, batch_size=8, checkpoint_every=1, held_out=0.1, device="cpu")
    return TrainRun(data=str(images), noise="symmetric:0.25:exact", model=name, training=training)


@pytest.mark.parametrize("name", ZOO)
def test_a_network_is_trained_saved_loaded_and_resumed(name, images, tmp_path):
    run = config(images, name)
    assert run_experiment(run, tmp_path / "run").status == "ok"
    samples, data = read_run(tmp_path / "run").samples, run.load()
    assert samples["margin"].shape == (2, 32) and np.isfinite(samples["margin"]).all()

    class Killed(Exception):
        pass

    def kill(*told):
        raise Killed

    with pytest.raises(Killed):
        fit(run.build(data), data, run.training, folder=tmp_path / "cut", progress=kill)
    log = fit(run.build(data), data, run.training, folder=tmp_path / "cut")
    assert_close(log.recorder.margin, samples["margin"], rtol=0)

    model = run.build(data).eval()
    checkpoints.load_weights(model, tmp_path / "run/checkpoints/epoch-0002.pt")
    there = data.on("cpu")
    with torch.no_grad():
        logits = model(there.normalise(there.x_train))
    given = torch.as_tensor(data.y_given)[:, None]
    margin = logits.gather(1, given) - logits.gather(1, 1 - given)
    assert_close(margin[:, 0].numpy(), samples["margin"][1], rtol=1e-5, atol=1e-6)


def test_the_fixture_has_two_classes_and_noise(images):
    data = load_data(str(images))
    assert data.n_classes == 2 and data.x_train[data.y_true == 1].mean() > data.x_train[data.y_true == 0].mean() + 100
