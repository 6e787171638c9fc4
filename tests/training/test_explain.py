"""Attribution: sums that come out, known answers, which samples, and runs that changed since."""

import io
import json
import shutil
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images.networks import NETWORKS, NO_ATTRIBUTION, build_model
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training.attribution import Attribution, class_similarity, read_attribution
from labelnoise.training.attribution_figures import attribution_figure, similarity_figure
from labelnoise.training.attribution_methods import COMPUTE, attribute
from labelnoise.training.checkpoints import kept_epochs, read_weights
from labelnoise.training.config import ExplainConfig, TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.explain import explain_run

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = ExplainConfig(clean=6, noisy=4, background=8, reference=3, nsamples=16, device="cpu")


def tiny_run(path, noise="symmetric:0.3", epochs=8, **settings):
    training = TrainConfig(epochs=epochs, lr=0.1, batch_size=16, checkpoint_every=3, device="cpu")
    run = TrainRun(**{"classes": (3, 8), "per_class": 40, "noise": noise, "training": training, **settings})
    run_experiment(run, path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of digits 3 and 8, with noise."""
    return tiny_run(tmp_path_factory.mktemp("runs") / "noisy")


@pytest.fixture
def folder(trained, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "run")


def normal(*shape, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape), dtype=torch.float32)


def linear(n_classes=3, pixels=12):
    net = nn.Sequential(nn.Flatten(), nn.Linear(pixels, n_classes))
    net[1].weight.data, net[1].bias.data = normal(n_classes, pixels, seed=1), normal(n_classes, seed=2)
    return net


# Known answers


@pytest.mark.parametrize("method", COMPUTE)
def test_a_linear_network_is_attributed_exactly(method):
    """a = w (x - mean b): also by random points, because each b is used equally often."""
    x, background = normal(4, 3, 2, 2, seed=3), normal(5, 3, 2, 2, seed=4)
    toward = np.array([2, 0, 2, 1])
    net = linear()
    found, due = attribute(net, x, toward, background, ExplainConfig(method=method, nsamples=15))
    expected = net[1].weight.data[toward].reshape(x.shape) * (x - background.mean(0))
    assert_close(found, expected.numpy(), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        logits, mean = net(x).numpy(), net(background).numpy().mean(0)
    assert_close(due, logits[np.arange(4), toward] - mean[toward], rtol=1e-4, atol=1e-5)


def test_deep_is_the_rescale_rule():
    """relu(w x + c) against one b: w (x - b) * (relu(z_x) - relu(z_b)) / (z_x - z_b), averaged over b."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    w, c, v = np.array([[1.0, -2.0], [0.5, 1.0]]), np.array([0.25, -1.0]), np.array([[1.0, 3.0], [-2.0, 0.5]])
    for layer, weights in ((net[1], w), (net[3], v)):
        layer.weight.data = torch.tensor(weights, dtype=torch.float32)
    net[1].bias.data = torch.tensor(c, dtype=torch.float32)
    x, background = np.array([1.0, -0.5]), np.array([[-1.0, 0.0], [0.5, 2.0], [0.0, -1.5]])
    expected = np.zeros(2)
    for b in background:
        z, z_b = w @ x + c, w @ b + c
        multiplier = (np.maximum(z, 0) - np.maximum(z_b, 0)) / (z - z_b)
        expected += (v[1] * multiplier) @ w * (x - b) / 3
    shape = (-1, 1, 1, 2)
    images, starts = (torch.tensor(part, dtype=torch.float32).reshape(shape) for part in (x, background))
    found, due = attribute(net, images, np.array([1]), starts, ExplainConfig(method="deep"))
    assert_close(found.ravel(), expected, rtol=1e-5)
    assert_close(due[0], expected.sum(), rtol=1e-5)


@pytest.mark.slow
def test_expected_gradients_agree_with_those_of_shap():
    """Another sampler of the same integral: both near each other where a single b is not near the mean of all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap
    net = nn.Sequential(linear(4, 12), nn.Tanh(), nn.Linear(4, 2))
    net[2].weight.data, net[2].bias.data = normal(2, 4, seed=5), torch.zeros(2)
    x, background = normal(3, 3, 2, 2, seed=3), normal(6, 3, 2, 2, seed=4)
    found, _ = attribute(net, x, np.ones(3, int), background, ExplainConfig(method="expected-gradients", nsamples=3000))
    state = np.random.get_state()  # noqa: NPY002
    expected = shap.GradientExplainer(net, background).shap_values(x, nsamples=3000, rseed=0)[..., 1]
    np.random.set_state(state)  # noqa: NPY002
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 0.05 * scale
    alone, _ = attribute(net, x, np.ones(3, int), background[:1], ExplainConfig(method="expected-gradients"))
    assert np.abs(alone - expected).max() > 0.3 * scale


def test_points_are_spread_evenly_over_every_path():
    """Mean gap of 43 points on 5 paths, 5 seeds: 0.06; independent draws give 0.24, even use or even t alone 0.19."""
    net = nn.Sequential(linear(4, 12), nn.Tanh(), nn.Linear(4, 2))
    net[2].weight.data, net[2].bias.data = normal(2, 4, seed=5), torch.zeros(2)
    x, background, toward = normal(4, 3, 2, 2, seed=3), normal(5, 3, 2, 2, seed=4), np.array([0, 1, 0, 1])
    gaps = []
    for seed in range(5):
        config = ExplainConfig(method="expected-gradients", nsamples=43, seed=seed)
        found, due = attribute(net, x, toward, background, config)
        gaps.append(np.abs(found.sum((1, 2, 3)) - due).mean())
    assert np.mean(gaps) < 0.1


class Nested(nn.Module):
    """Layers in a module that is no container: there shap leaves its tensors behind."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5))
        self.head = linear(2, 4)

    def forward(self, images):
        return self.head(self.layers(images))


@pytest.mark.parametrize("method", COMPUTE)
def test_the_network_and_all_random_states_are_left_as_they_were(method):
    net = Nested()
    net.train()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    x = normal(2, 3, 2, 2)
    attribute(net, x, np.array([0, 1]), normal(3, 3, 2, 2, seed=1), ExplainConfig(method=method, nsamples=5))
    assert net.training and not x.requires_grad
    assert {name: value.tolist() for name, value in net.state_dict().items()} == {
        name: value.tolist() for name, value in weights.items()
    }
    assert not any(len(module._forward_hooks) + len(module._backward_hooks) for module in net.modules())
    assert_close(torch.get_rng_state(), states[0])
    assert_close(np.random.get_state()[1], states[1])  # noqa: NPY002


@pytest.mark.parametrize("model", ["small-cnn", "mlp"])
def test_the_sum_of_an_attribution_is_its_difference_of_logits(model):
    run = TrainRun(classes=(3, 8), per_class=20, model=model)
    data = run.load()
    images = data.on("cpu")
    x = images.normalise(images.x_train)
    toward = np.arange(6) % 2
    found, due = attribute(run.build(data), x[:6], toward, x[6:20])
    assert np.abs(due).min() > 1e-4
    assert_close(found.sum((1, 2, 3), dtype=float), due, rtol=1e-4, atol=1e-6)
    found, due = attribute(
        run.build(data), x[:6], toward, x[6:20], ExplainConfig(method="expected-gradients", nsamples=280)
    )
    assert_close(found.sum((1, 2, 3), dtype=float), due, rtol=0, atol=0.1 * np.abs(due).mean())


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", COMPUTE)
@pytest.mark.parametrize("model", [name for name in NETWORKS if name not in NO_ATTRIBUTION])
def test_each_network_goes_through_both_methods(model, method):
    net = build_model(model, n_classes=2, in_channels=3)
    for module in net.modules():  # an untrained head gives logits near 0, untrained statistics make a norm do nothing
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=torch.Generator().manual_seed(0))
    net.train()(normal(8, 3, 32, 32, seed=2))
    # images near each other: along a long path an untrained network is too rough for a few gradients
    near = 0.1 if method == "deep" else 0.01
    x, background = (normal(3, 32, 32) + near * normal(n, 3, 32, 32, seed=n) for n in (1, 2))
    found, due = attribute(net, x, np.array([1]), background, ExplainConfig(method=method, nsamples=20))
    gap = np.abs(found.sum((1, 2, 3), dtype=float) - due).max() / np.abs(due).mean()
    assert gap < (1e-3 if method == "deep" else 0.2), gap


def test_the_similarity_to_a_class_leaves_the_sample_out():
    a = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0], [5.0, 0.0], [0.0, 0.0]]).reshape(5, 1, 1, 2)
    rows, classes = np.array([7, 2, 9, 4, 5]), np.array([0, 0, 0, 1, 0])
    pool = (a[[1, 2, 3]], np.array([2, 9, 4]), np.array([0, 0, 1]))
    found = class_similarity(a, rows, classes, *pool)
    # 7: not in the pool, mean of class 0 is (0.5, 1); 2 and 9: each left with the other, at a right angle
    assert_close(found[:3], [(1.5 + 4) / (5 * np.sqrt(1.25)), 0.0, 0.0])
    assert np.isnan(found[3:]).all()  # alone in its class; zero everywhere
    assert_close(class_similarity(a[:1], rows[:1], np.array([1]), *pool), [0.6])


# Runs


def test_a_run_is_explained_at_every_kept_epoch(trained):
    told, threads = [], set()

    def tell(done, total):
        told.append((done, total))
        threads.add(torch.get_num_threads())

    found = explain_run(trained, replace(TINY, threads=2), tell)
    assert threads == {2} and torch.get_num_threads() == 1
    run, samples = read_run(trained), read_run(trained).samples
    data = run.config.load()
    kept = kept_epochs(trained)
    assert found.epoch.tolist() == kept and told == [(i + 1, len(kept)) for i in range(len(kept))]
    assert found.facts["stops"] == {row["rule"]: row["at"] for row in run.summary["stops"] if row["rule"] != "held_out"}
    assert found.shown_epoch.tolist() == [found.facts["stops"]["oracle"], 8]

    groups = found.sample, found.reference, found.background
    assert [len(rows) for rows in groups] == [10, 0, 8]
    assert len(set(np.concatenate(groups))) == 18
    assert not samples["held_out"][np.concatenate(groups)].any()
    noisy = found.y_true != found.y_given
    assert noisy.tolist() == [False] * 6 + [True] * 4
    assert not data.noisy[found.background].any()
    assert np.bincount(found.y_true[:6]).tolist() == [3, 3]
    for name, array in (("y_true", data.y_true), ("y_given", data.y_given), ("image", data.x_train)):
        assert_close(getattr(found, name), array[found.sample])


def test_the_arrays_are_what_attribute_gives(trained):
    found = explain_run(trained, TINY)
    run = read_run(trained).config
    data = run.load()
    images, net = data.on("cpu"), run.build(data).eval()
    x, background = (images.normalise(images.x_train[rows]) for rows in (found.sample, found.background))
    clean = found.y_true == found.y_given
    for s, epoch in enumerate(found.shown_epoch):
        e = found.epoch.tolist().index(epoch)
        net.load_state_dict(read_weights(trained, epoch))
        with torch.no_grad():
            assert_close(found.logits[e], net(x).numpy(), rtol=1e-5, atol=1e-6)
        gaps = []
        for label, values, likeness in (
            (found.y_true, found.toward_true, found.similarity_true),
            (found.y_given, found.toward_given, found.similarity_given),
        ):
            expected, due = attribute(net, x, label, background, TINY)
            assert_close(values[s], expected, rtol=1e-4, atol=1e-6)
            gaps.append(np.abs(values[s].sum((1, 2, 3), dtype=float) - due).max())
            pool = values[s][clean], found.sample[clean], label[clean]
            assert_close(likeness[e], class_similarity(values[s], found.sample, label, *pool), rtol=1e-5)
        row = found.facts["gaps"][e]
        assert row["epoch"] == epoch and row["largest"] < 1e-4 and row["relative"] < 1e-5
        assert_close(row["largest"], max(gaps), rtol=0.5, atol=1e-6)
    worst = max(found.facts["gaps"], key=lambda row: row["relative"])  # largest as a share, not always in itself
    share, gap = (f"{worst[name]:.1g}" for name in ("relative", "largest"))
    assert f"by at most {share} of the mean difference ({gap}, at epoch {worst['epoch']})." in found.facts["text"]


def test_classes_with_few_explained_samples_get_further_ones_for_their_mean(trained):
    found = explain_run(trained, replace(TINY, clean=3, reference=5))
    samples = read_run(trained).samples
    clean = np.concatenate([found.sample[:3], found.reference])
    assert (samples["y_true"][clean] == samples["y_given"][clean]).all()
    assert np.bincount(samples["y_true"][clean]).tolist() == [5, 5]
    assert len(set(clean) | set(found.background)) == 10 + 8
    assert np.isfinite(found.similarity_true).all() and np.isfinite(found.similarity_given).all()
    assert found.facts["counts"] == {"clean": 3, "noisy": 4, "reference": 7, "background": 8}


def test_a_seed_fixes_the_result_and_more_samples_keep_the_fewer(trained):
    config = replace(TINY, method="expected-gradients", clean=2, noisy=2)
    first, again, other = (explain_run(trained, replace(config, seed=seed)) for seed in (5, 5, 6))
    for name in ("sample", "background", "toward_given", "similarity_true"):
        assert_close(getattr(first, name), getattr(again, name), rtol=0)
    assert set(first.sample) != set(other.sample)
    more = explain_run(trained, replace(config, clean=4, noisy=3, seed=5))
    assert_close(more.sample[[0, 1, 4, 5]], first.sample)


def test_what_was_written_is_read_back_and_a_second_call_replaces_it(folder):
    explain_run(folder, replace(TINY, noisy=2))
    found = explain_run(folder, replace(TINY, method="expected-gradients"))
    back = read_attribution(folder)
    assert back.facts == found.facts
    written = json.loads((folder / "attribution.json").read_text())
    assert {name: value for name, value in written.items() if name not in ("arrays", "sha256")} == found.facts
    assert str(back) == str(found)
    for name in vars(found):
        if name != "facts":
            assert_close(np.nan_to_num(getattr(back, name), nan=-2.0), np.nan_to_num(getattr(found, name), nan=-2.0))
            assert getattr(back, name).dtype == getattr(found, name).dtype
    assert found.facts["settings"]["method"] == "expected-gradients" and found.facts["counts"]["noisy"] == 4
    assert set(found.facts["versions"]) == {"labelnoise", "torch"}
    assert "4 noisy" in str(found) and "chance" in str(found)


def test_a_run_without_noisy_samples_shows_clean_ones_only(tmp_path):
    path = tiny_run(tmp_path / "run", noise="none", epochs=4)
    found = explain_run(path, TINY)
    assert list(found.facts["stops"]) == ["held_out", "last"]
    assert len(found.sample) == 6 and "no noisy samples" in str(found)
    assert_close(found.toward_true, found.toward_given, rtol=0)
    few = replace(TINY, noisy=60)
    noisy = tiny_run(tmp_path / "other", epochs=1, training=TrainConfig(epochs=1, device="cpu", held_out=0))
    found = explain_run(noisy, few)
    assert 0 < found.facts["counts"]["noisy"] < 60 and "no more noisy samples" in str(found)


# Refusals


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"clean": 0}, "`clean` must be an integer >= 1, got 0"),
        ({"noisy": 2.5}, "`noisy` must be an integer >= 1, got 2.5"),
        ({"background": -1}, "`background` must be"),
        ({"reference": 1}, "`reference` must be an integer >= 2, got 1"),
        ({"nsamples": True}, "`nsamples` must be"),
        ({"method": "depp"}, "`method` must be one of deep, expected-gradients, got 'depp'; did you mean 'deep'"),
        ({"seed": -1}, "`seed` must be"),
    ],
)
def test_settings_are_refused(settings, said):
    with pytest.raises(InputError) as refusal:
        ExplainConfig(**settings)
    assert said in str(refusal.value)


def refused(path, config=TINY):
    with pytest.raises(InputError) as refusal:
        explain_run(path, config)
    assert not (path / "attribution.json").exists() and not (path / "attribution.npz").exists()
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_runs_that_cannot_be_explained_are_refused(tmp_path, trained, monkeypatch):
    simulated = tmp_path / "simulated"
    run_experiment(SimulateRun(SignalNoise(n=4, d=40, m=2), SimulateConfig(steps=2), seeds=(0,)), simulated)
    assert "must be a run of 'train', got one of 'simulate'" in refused(simulated)
    assert "is no run" in refused(tmp_path)
    copy = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("attribution.*"))
    monkeypatch.setitem(NO_ATTRIBUTION, "small-cnn", "its heart is elsewhere")
    assert "`model` 'small-cnn' has no attribution: its heart is elsewhere" in refused(copy)


def test_data_that_changed_under_the_run_are_refused(tmp_path):
    """Other labels, another order, and other images of the same labels."""
    rng, path = np.random.default_rng(0), tmp_path / "own.npz"
    labels = np.arange(60) % 2
    images = np.clip(60 + 90 * labels[:, None, None] + rng.integers(-60, 60, (60, 8, 8)), 0, 255).astype(np.uint8)
    parts = {"x_train": images, "y_train": labels, "x_test": images[:10], "y_test": labels[:10]}
    np.savez(path, **parts)
    run = tiny_run(tmp_path / "run", data=str(path), classes=(), per_class=0)
    order = rng.permutation(60)
    for change, said in (
        ({"y_train": 1 - labels}, "`y_true` is not what"),
        ({"x_train": images[order], "y_train": labels[order]}, "`y_true` is not what"),
        ({"x_train": images[:50], "y_train": labels[:50]}, "`index` is not what"),
        ({"x_train": 255 - images}, "does not give the margins recorded at epoch"),
    ):
        np.savez(path, **parts | change)
        assert said in refused(run)
    path.unlink()
    assert "own.npz" in refused(run)
    np.savez(path, **parts)
    assert explain_run(run, TINY).facts["counts"]["clean"] == 6


def test_weights_that_are_lost_or_of_another_network_are_refused(folder):
    shutil.rmtree(folder / "attribution", ignore_errors=True)
    for name in ("attribution.json", "attribution.npz"):
        (folder / name).unlink(missing_ok=True)
    last = folder / "checkpoints" / "epoch-0008.pt"
    weights = torch.load(last, weights_only=True)
    first, *rest = weights
    last.unlink()
    assert "weights of epoch 8" in refused(folder)
    torch.save(weights | {first: -weights[first]}, last)
    assert "epoch-0008.pt is damaged or was changed" in refused(folder)
    (folder / "checksums.json").unlink()  # as in runs before schema 1
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({key: config[key] for key in config if key not in ("schema", "sha256")})
    )
    torch.save({name: weights[name] for name in rest}, last)
    assert "are of another network" in refused(folder)
    torch.save(weights | {first: -weights[first]}, last)
    assert "does not give the margins recorded at epoch 8" in refused(folder)
    last.write_bytes(b"no weights")
    assert "epoch-0008.pt is damaged" in refused(folder)


def test_too_few_clean_images_and_no_shap_are_refused(folder, monkeypatch):
    for name in ("attribution.json", "attribution.npz"):
        (folder / name).unlink(missing_ok=True)
    assert "`background` needs clean images beside" in refused(folder, replace(TINY, clean=70))
    monkeypatch.setitem(sys.modules, "shap", None)
    assert "needs shap; pip install 'labelnoise[explain]', or use expected-gradients" in refused(folder)
    assert explain_run(folder, replace(TINY, method="expected-gradients")).facts["counts"]["noisy"] == 4


def test_an_attribution_that_is_absent_or_damaged_is_refused(folder):
    (folder / "attribution.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"holds no attribution \(.* is missing\); make it with"):
        read_attribution(folder)
    explain_run(folder, TINY)
    whole = (folder / "attribution.npz").read_bytes()
    for spoil in (b"", whole[:200]):
        (folder / "attribution.npz").write_bytes(spoil)
        with pytest.raises(InputError, match="is damaged .* make it again"):
            read_attribution(folder)
    (folder / "attribution.npz").write_bytes(whole)
    np.savez(folder / "attribution.npz", sample=np.arange(3))
    with pytest.raises(InputError, match="is damaged"):
        read_attribution(folder)
    (folder / "attribution.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_attribution(folder)


# Figures


def made_up(noisy=3, epochs=(2, 5, 9), stops=None):
    """2 clean samples and some noisy ones of three classes; every number different."""
    rng = np.random.default_rng(0)
    m = 2 + noisy
    y_true = np.array([1, 0, 2, 2, 0, 1])[:m]
    y_given = np.array([1, 0, 0, 1, 2, 2])[:m]
    stops = stops or {"last": 9, "oracle": 5}
    shown = sorted(set(stops.values()))
    pair = rng.normal(size=(2, len(shown), m, 3, 4, 5)).astype(np.float32)
    logits = rng.normal(size=(len(epochs), m, 3)).astype(np.float32)
    likeness = rng.uniform(-0.5, 1, size=(2, len(epochs), m))
    return Attribution(
        {"stops": stops, "text": "made up"}, np.arange(m), np.arange(0), np.arange(9), y_true, y_given,
        rng.integers(0, 256, (m, 3, 4, 5), dtype=np.uint8), np.array(epochs), logits, *likeness, np.array(shown), *pair,
    )  # fmt: skip


NAMES = SimpleNamespace(summary={"classes": [3, 5, 4], "class_names": ["cat", "dog", "elephant"]})


def test_the_attribution_figure_shows_sums_over_channels_on_one_scale_a_pair():
    found = made_up()
    figure = attribution_figure(NAMES, found)
    grid = np.array(figure.axes[:25]).reshape(5, 5)
    assert [axis.get_title() for axis in grid[0]] == ["image"] + [
        f"epoch {epoch}\n({stop})\ntoward {kind} class"
        for epoch, stop in ((5, "T1"), (9, "the end"))
        for kind in ("true", "given")
    ]
    assert [axis.get_xlabel() for axis in grid[:, 0]] == [
        "clean: dog", "clean: cat", "noisy: elephant,\ngiven cat", "noisy: elephant,\ngiven dog",
        "noisy: cat,\ngiven elephant",
    ]  # fmt: skip
    for i, s in ((2, 0), (4, 1)):
        pictures = [axis.images[0] for axis in grid[i, 1 + 2 * s : 3 + 2 * s]]
        sums = found.toward_true[s, i].sum(0), found.toward_given[s, i].sum(0)
        for picture, expected in zip(pictures, sums, strict=True):
            assert_close(picture.get_array().data, expected)
            limit = np.quantile(np.abs(sums), 0.99)
            assert_close(picture.get_clim(), [-limit, limit], rtol=1e-6)
        assert_close(grid[i, 0].images[0].get_array().data, found.image[i].transpose(1, 2, 0))
        row = found.logits[[1, 2][s], i]
        for axis, label in zip(grid[i, 1 + 2 * s : 3 + 2 * s], (found.y_true[i], found.y_given[i]), strict=True):
            largest = ", the largest" if label == row.argmax() else ""
            assert axis.get_xlabel() == f"logit {row[label]:.1f}{largest}"
    assert not grid[0, 2].images and grid[0, 2].texts[0].get_text() == "given = true"
    said = [axis.get_xlabel() for axis in grid[:, 1:].flat if axis.images]
    assert 0 < sum("largest" in text for text in said) < len(said)


def test_the_attribution_figure_of_one_epoch_without_noise():
    found = made_up(noisy=0, stops={"last": 9, "held_out": 9})
    figure = attribution_figure(NAMES, found)
    assert len(figure.axes) == 2 * 3 + 1  # the last is the colour bar
    assert figure.axes[1].get_title().startswith("epoch 9\n(held-out stop, the end)")


def test_the_similarity_figure_shows_medians_of_what_is_known():
    found = made_up()
    found.similarity_true[1, 3] = np.nan  # one noisy sample
    found.similarity_given[0, 2:] = np.nan  # all of them
    figure = similarity_figure(NAMES, found)
    for axis, values, epochs in zip(
        figure.axes, (found.similarity_true, found.similarity_given), ([2, 5, 9], [5, 9]), strict=True
    ):
        lines = {line.get_label(): line for line in axis.lines}
        assert_close(lines["clean samples: median"].get_ydata(), np.median(values[:, :2], axis=1))
        known = values[[2, 5, 9].index(epochs[0]) :, 2:]
        assert_close(lines["noisy samples: median"].get_xdata(), epochs)
        assert_close(lines["noisy samples: median"].get_ydata(), np.nanmedian(known, axis=1))
        assert lines["T1"].get_xdata()[0] == 5 and lines["the end"].get_xdata()[0] == 9


@pytest.mark.slow
def test_the_figures_of_a_run_are_drawn(trained):
    record, found = read_run(trained), explain_run(trained, TINY)
    for draw in (attribution_figure, similarity_figure):
        draw(record, found).savefig(io.BytesIO())
