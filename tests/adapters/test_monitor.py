"""A training loop of one's own: what the monitor records, where it stops, and which weights it leaves."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import assert_close
from labelnoise.adapters.evaluation import mixed
from labelnoise.adapters.torch import Monitor
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import Combined, HeldOutLoss, LabelWave, RunningMean
from labelnoise.record.watching import Watch, find_stop
from labelnoise.training.kept_weights import KeptWeights

N, D, K = 60, 6, 3
RULE = HeldOutLoss(patience=3, smooth=1)
OUT = np.arange(N) % 3 == 0


def table():
    """Labels that are noise: a network of its size soon memorises them."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, D, generator=generator), torch.randint(K, (N,), generator=generator)


def network(*first):
    torch.manual_seed(1)
    return nn.Sequential(*first, nn.Linear(D, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, K))


def train(model, epochs=12, after=lambda: False):
    """Epochs of gradient descent on what is not held out; `after` each of them may end it."""
    X, y = table()
    optimizer, trained = torch.optim.SGD(model.parameters(), lr=0.5), torch.from_numpy(np.flatnonzero(~OUT))
    for epoch in range(epochs):
        model.train()
        for part in trained[torch.randperm(len(trained))].split(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X[part]), y[part]).backward()
            optimizer.step()
        if after():
            return epoch
    return epochs


def monitor(model, rule=RULE, **options):
    options = {"batch_size": 25, **options}
    return Monitor(model, Recorder(N, K, held_out=OUT), TensorDataset(*table()), rule=rule, **options)


@pytest.mark.parametrize("rule", [None, HeldOutLoss(patience=9)])
def test_every_epoch_is_recorded_in_eval_mode_and_the_loop_goes_on_as_it_would_alone(rule):
    alone, watched, seen = network(nn.BatchNorm1d(D)), network(nn.BatchNorm1d(D)), []
    torch.manual_seed(2)
    train(alone, 3)
    torch.manual_seed(2)
    mine = monitor(watched, rule=rule)

    def after():
        assert mine.end_epoch() is False and watched.training
        watched.eval()
        with torch.no_grad():
            seen.append(watched(table()[0]).numpy())
        watched.train()

    train(watched, 3, after)
    for own, other in zip(alone.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(own, other)
    assert mine.recorder.epochs == 3 and (mine.stop is None) == (rule is None)
    for epoch, logits in enumerate(seen):
        log_p = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()
        assert_close(mine.recorder.loss[epoch], -log_p[np.arange(N), table()[1]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("average", [1, 3, "onward", "all"])
def test_it_stops_and_averages_as_a_watch_and_kept_weights_do(average):
    model, other, rule = network(), network(), RunningMean(patience=2) if average == "all" else RULE
    mine, recorder, watch = monitor(model, rule=rule, average=average), Recorder(N, K), Watch(rule)
    kept = KeptWeights(other, watch, average)

    def after():
        other.eval()
        with torch.no_grad():
            recorder.update(np.arange(N), other(table()[0]), table()[1])
        now = recorder.end_epoch()
        watch.observe(loss=now.loss[OUT], fitted=now.prediction[OUT] == table()[1].numpy()[OUT])
        kept.take()
        return watch.ended

    torch.manual_seed(2)
    ended = train(model, after=mine.end_epoch)
    torch.manual_seed(2)
    assert train(other, after=after) == ended == mine.stop.stopped < 11
    assert (mine.stop.chosen, mine.stop.falls) == (watch.stop.chosen, watch.stop.falls)
    assert mine.stop == find_stop(rule, mine.recorder)
    assert mine.load_average() == kept.load_average()
    for own, same in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(own, same)
    assert not model.training


@pytest.mark.parametrize("size", [1, 3, 25])
def test_batch_norm_takes_its_statistics_from_what_was_trained_on(size):
    model = network(nn.BatchNorm1d(D))
    mine = monitor(model, batch_size=size)
    train(model, after=mine.end_epoch)
    assert len(mine.load_average()) > 1
    parts = mixed(~OUT, size)
    assert sorted(np.concatenate(parts)) == np.flatnonzero(~OUT).tolist() and min(map(len, parts)) > 1
    means = torch.stack([table()[0][part].mean(0) for part in parts])  # the statistics are means over the batches
    assert_close(model[0].running_mean.numpy(), means.mean(0).numpy(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(model[0].running_mean.numpy(), table()[0].mean(0).numpy(), atol=1e-3)


def test_a_loop_that_goes_on_from_its_state_ends_with_the_same_weights(tmp_path):
    models = network(), network()
    whole, halves = monitor(models[0]), monitor(models[1])
    torch.manual_seed(2)
    train(models[0], after=whole.end_epoch)
    torch.manual_seed(2)
    train(models[1], 2, halves.end_epoch)
    torch.save(halves.state_dict(), tmp_path / "state.pt")
    again = monitor(models[1])
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    train(models[1], after=again.end_epoch)
    assert again.stop == whole.stop and again.load_average() == whole.load_average()
    assert_close(again.recorder.margin[:], whole.recorder.margin[:])
    for own, same in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(own, same)


def test_inputs_may_be_tensors_by_name():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(D, K)

        def forward(self, inputs):
            return self.net(inputs["a"] + inputs["b"])

    X, y = table()
    data = [({"a": X[i], "b": X[i]}, int(y[i])) for i in range(N)]
    model = Sum()
    mine = Monitor(model, Recorder(N, K), data, rule=LabelWave())
    assert mine.end_epoch() is False
    assert_close(mine.recorder.prediction[0], model.net(2 * X).argmax(1).numpy().astype(np.int32))
    assert mine.load_average() == [0]


class Two(nn.Module):
    """A network of two inputs, as transformers with a mask are."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(D, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, K))

    def forward(self, x, scale):
        return self.body(x) * scale


SCALE = torch.linspace(1, 3, N)[:, None]
FORMS = {
    "by name": (lambda X, y: [({"scale": SCALE[i], "x": X[i]}, y[i]) for i in range(N)], None),
    "as one tuple": (lambda X, y: [((X[i], SCALE[i]), y[i]) for i in range(N)], None),
    "several": (lambda X, y: TensorDataset(X, SCALE, y), None),
    "by other names": (
        lambda X, y: [({"a": X[i], "b": SCALE[i]}, y[i]) for i in range(N)],
        lambda model: lambda inputs: model(inputs["a"], inputs["b"]),
    ),
    "several, called": (lambda X, y: TensorDataset(SCALE, X, y), lambda model: lambda inputs: model(*inputs[::-1])),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_network_of_two_inputs_is_recorded_and_averaged(form):
    data, call = FORMS[form]
    model, (X, y) = Two(), table()
    mine = Monitor(
        model, Recorder(N, K, held_out=OUT), data(X, y), RULE, call=call and call(model), batch_size=25
    )  # fmt: skip
    for _ in range(3):
        mine.end_epoch()
        with torch.no_grad():
            model.body[-1].bias += 0.1 * torch.arange(K)
    model.eval()
    with torch.no_grad():
        model.body[-1].bias -= 0.1 * torch.arange(K)
        expected = model(X, SCALE).argmax(1).numpy().astype(np.int32)
    assert_close(mine.recorder.prediction[-1], expected)
    assert len(mine.load_average()) > 1
    with torch.no_grad():
        trained = model.body[0](X[~torch.from_numpy(OUT)])
    assert_close(model.body[1].running_mean.numpy(), trained.mean(0).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "call", "said"),
    [
        (lambda X, y: TensorDataset(X, y), None, r"an error \(TypeError: .*'scale'\); let the data set .* for example"),
        (
            lambda X, y: TensorDataset(SCALE, X, y),
            None,
            r"the inputs of a batch \(torch.float32 \(60, 1\) and torch.float32 \(60, 6\)\), got an error "
            r"\(RuntimeError: .* label last, or say how it is called, for example call=",
        ),
        (
            lambda X, y: [({"x": X[i].double(), "scale": SCALE[i]}, y[i]) for i in range(N)],
            None,
            r"\(x: torch.float64 \(60, 6\), scale: torch.float32 \(60, 1\)\), got an error \(RuntimeError",
        ),
        (lambda X, y: TensorDataset(X, SCALE, X, y), None, "an error .TypeError: .*call=lambda inputs: model"),
        (lambda X, y: [({"a": X[i]}, y[i]) for i in range(N)], None, "an error .TypeError"),
        (lambda X, y: TensorDataset(X, y), lambda inputs: inputs["x"].shape, "an error by `call` .*Error"),
    ],
)
def test_a_call_that_fails_says_what_helps(data, call, said):
    mine = Monitor(Two(), Recorder(N, K), data(*table()), rule=None, call=call)
    with pytest.raises(InputError, match=said) as refusal:
        mine.end_epoch()
    assert mine.recorder.epochs == 0 and type(refusal.value.__cause__).__name__ in str(refusal.value)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), RuntimeError("can't allocate memory: no room")])
def test_memory_that_is_not_enough_is_not_blamed_on_the_inputs(error):
    def call(inputs):
        raise error

    with pytest.raises(RuntimeError, match="no room$"):
        Monitor(network(), Recorder(N, K), TensorDataset(*table()), rule=None, call=call).end_epoch()


def test_a_mean_of_all_goes_with_the_running_mean():
    recorder, data = Recorder(N, K, held_out=OUT), TensorDataset(*table())
    assert Monitor(network(), recorder, data, average="all").rule == RunningMean()
    assert Monitor(network(), recorder, data).rule == HeldOutLoss()
    assert Monitor(network(), recorder, data, None, "all").rule is None
    combined = Combined((HeldOutLoss(), RunningMean()))
    assert Monitor(network(), recorder, data, combined, "all").rule is combined
    with pytest.warns(UserWarning, match=r"`average` all goes with RunningMean.*, got HeldOutLoss\(.*; give rule=Runn"):
        assert Monitor(network(), recorder, data, HeldOutLoss(), "all").rule == HeldOutLoss()


def test_the_reason_names_the_epoch_as_tables_count_them():
    model = network()
    mine = monitor(model)
    train(model, after=mine.end_epoch)
    chosen = 1 + int(np.argmin(mine.recorder.loss[:, OUT].mean(axis=1)))  # smooth=1: the least loss
    assert 1 < chosen < mine.recorder.epochs
    words = f"epoch {chosen} of {mine.recorder.epochs} (counted from 1) is kept: held-out accuracy "
    assert mine.stop.reason.startswith(words) and mine.stop.chosen == chosen - 1


def ended(recorder):
    recorder.update(np.arange(N), np.zeros((N, K)), table()[1])
    recorder.end_epoch()
    return recorder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "net"}, "`model` must be a torch module, got 'net'"),
        ({"recorder": None}, "`recorder` must be a Recorder, got None"),
        (
            {"recorder": Recorder(N, K)},
            r"`recorder` must have held-out samples, got none; HeldOutLoss\(.*looks at them",
        ),
        (
            {"recorder": Recorder(9, K, held_out=OUT[:9])},
            "a place for each of the 60 samples, got 9; give the data set",
        ),
        (
            {"dataset": 3},
            "`dataset` must give samples by position, got 3; use for example torch",
        ),
        ({"dataset": table()}, r"`dataset` must give \(input, label\), got .* at position 0"),
        (
            {"dataset": [(0, table()[0][0])] * N},
            r"an integer as label, the last part, got .* as label of the sample at position 0",
        ),
        ({"dataset": pd.DataFrame({"a": [1] * N})}, "`dataset` must give samples by position, got"),
        ({"dataset": DataLoader(TensorDataset(*table()))}, "`dataset` must give samples by position, got"),
        (
            {"recorder": ended(Recorder(N, K, held_out=OUT))},
            "must have no epochs when a rule begins, got 1; make a",
        ),
        ({"rule": "loss"}, "`rule` must be a stop rule or None, got 'loss'; use for example HeldOutLoss"),
        ({"average": 4}, "`average` must be odd"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"call": 3}, "`call` must be a function of a batch's inputs, got 3; or leave it out"),
        ({"dataset": [(1, 2, {"label": 1})] * N}, "an integer as label, the last part, got"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(change, said):
    data = TensorDataset(*table())
    arguments = {"model": network(), "recorder": Recorder(N, K, held_out=OUT), "dataset": data, **change}
    with pytest.raises(InputError, match=said):
        Monitor(**arguments)


def test_what_comes_at_the_wrong_time_is_refused():
    mine = monitor(network())
    with pytest.raises(InputError, match="`load_average` needs an epoch, got none; call `end_epoch` after each"):
        mine.load_average()
    with pytest.raises(InputError, match=r"`load_average` needs a rule, got None; give for example rule=HeldOutLoss"):
        monitor(network(), rule=None).load_average()
    with pytest.raises(InputError, match=r"the state must hold what HeldOutLoss.* has seen, got None; go on without"):
        mine.load_state_dict(monitor(network(), rule=None).state_dict())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            lambda: monitor(network(), rule=HeldOutLoss(9)),
            r"must be of HeldOutLoss\(patience=9.*, got HeldOut",
        ),
        (
            lambda: monitor(network(), average=3),
            r"with average=3, got .* average='onward'; the weights that",
        ),
        (lambda: monitor(nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Identity(), nn.Linear(8, K))), "of this network"),
        (lambda: Monitor(network(), Recorder(N, K, held_out=~OUT), TensorDataset(*table()), RULE), "must name this"),
    ],
)
def test_a_state_of_another_training_is_refused_and_changes_nothing(other, said):
    mine = monitor(network())
    train(mine.model, 3, mine.end_epoch)
    before = other()
    with pytest.raises(InputError, match=said):
        before.load_state_dict(mine.state_dict())
    assert before.recorder.epochs == 0 and before.stop is None
    before.end_epoch()
    assert before.stop.chosen == 0


@pytest.mark.parametrize("average", [5, "onward", "all"])
def test_weights_that_are_not_finite_are_in_no_average(average):
    mine = monitor(network(), rule=RunningMean() if average == "all" else RULE, average=average)
    train(mine.model, 2, mine.end_epoch)
    with torch.no_grad():
        mine.model[0].weight[0, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="in epoch 3 .* all 60 samples are NaN"):
        mine.end_epoch()
    assert "the last record whose held-out outputs are numbers, 1 before the last one" in mine.stop.reason
    assert mine.stop.chosen < 2 and mine.load_average() == list(range(mine.stop.chosen + 1 if average == "all" else 2))
    assert all(torch.isfinite(value).all() for value in mine.model.parameters())


def test_held_out_samples_without_an_output_are_said_to_be_so_at_once():
    X, y = table()
    X[torch.from_numpy(OUT)] = np.nan
    mine = Monitor(network(), Recorder(N, K, held_out=OUT), TensorDataset(X, y), RULE)
    refusal = pytest.raises(InputError, match="finite outputs, got none of 20 in the first epoch; HeldOutLoss")
    with refusal, pytest.warns(RuntimeWarning, match="in epoch 1 .* 20 of 60 samples are NaN"):
        mine.end_epoch()


@pytest.mark.parametrize("wrap", [lambda z: (z, None), lambda z: {"logits": z, "other": None}])
def test_logits_may_be_among_other_outputs(wrap):
    class Wrapped(nn.Sequential):
        def forward(self, x):
            return wrap(super().forward(x))

    model = Wrapped(*network())
    mine = monitor(model, rule=None)
    mine.end_epoch()
    model.eval()
    with torch.no_grad():
        own = nn.Sequential(*model)(table()[0]).argmax(1)
    assert_close(mine.recorder.prediction[0], own.numpy().astype(np.int32))
