"""skorch: a small net trained by `NeuralNetClassifier`, its record against the net's own predictions."""

import numpy as np
import pytest

pytest.importorskip("skorch")

import torch
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import Subset, TensorDataset

from helpers import assert_close
from labelnoise.adapters.evaluation import mixed
from labelnoise.adapters.skorch import RecorderCallback
from labelnoise.errors import InputError
from labelnoise.record.stop_rules import HeldOutLoss
from labelnoise.record.watching import find_stop

N, D, K = 60, 6, 3


class Several(nn.Module):
    """A network that returns more than its logits."""

    def forward(self, logits):
        return logits, logits.sum()


class OfTheFirst(nn.CrossEntropyLoss):
    """The loss of such a network."""

    def forward(self, outputs, labels):
        return super().forward(outputs[0], labels)


LAYERS = {"logits": [], "probabilities": [nn.Softmax(dim=1)], "several": [Several()]}
CRITERIA = {"logits": nn.CrossEntropyLoss, "several": OfTheFirst}


def table(n_classes=K):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64) if n_classes == 2 else X[:, :K].argmax(1).astype(np.int64)


class Seen(Callback):
    """What the net itself says of all samples after each epoch."""

    def __init__(self, X):
        self.X = X

    def on_train_begin(self, net, **kwargs):
        self.proba_ = []

    def on_epoch_end(self, net, **kwargs):
        self.proba_.append(net.predict_proba(self.X))


def net(last="probabilities", kind=NeuralNetClassifier, outputs=K, X=None, recorder=None, **options):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs), *LAYERS[last])
    criterion = {"criterion": CRITERIA[last]} if last in CRITERIA and kind is NeuralNetClassifier else {}
    callbacks = [("recorder", recorder or RecorderCallback()), ("seen", Seen(X))]
    return kind(
        module, max_epochs=4, lr=0.1, batch_size=16, verbose=0, callbacks=callbacks, **{**criterion, **options}
    )  # fmt: skip


@pytest.mark.parametrize("last", LAYERS)
def test_every_epoch_is_recorded_in_eval_mode(last):
    X, y = table()
    trained = net(last, X=X).fit(X, y)
    callbacks = dict(trained.callbacks_)
    recorder, proba = callbacks["recorder"].recorder_, callbacks["seen"].proba_
    assert (recorder.epochs, recorder.n_samples, recorder.n_classes) == (4, N, K)
    for epoch in range(4):
        expected = -np.log(proba[epoch][np.arange(N), y])
        assert_close(recorder.loss[epoch], expected, rtol=1e-4, atol=1e-5)
        assert_close(recorder.prediction[epoch], proba[epoch].argmax(1).astype(np.int32))
    assert_close(recorder.given, y)
    assert not np.allclose(recorder.margin[0], recorder.margin[3])


def test_the_samples_of_the_nets_own_validation_are_held_out():
    X, y = table()
    out = np.arange(N) % 4 == 1
    split = ValidSplit([(np.flatnonzero(~out), np.flatnonzero(out))])
    recorder = dict(net(X=X, train_split=split).fit(X, y).callbacks_)["recorder"].recorder_
    assert recorder.held_out.tolist() == out.tolist() and recorder.sums.stop is not None
    assert 0 < dict(net(X=X).fit(X, y).callbacks_)["recorder"].recorder_.held_out.mean() < 0.3
    assert dict(net(X=X, train_split=None).fit(X, y).callbacks_)["recorder"].recorder_.held_out is None


def test_one_logit_of_two_classes():
    X, y = table(2)
    trained = net("logits", NeuralNetBinaryClassifier, 1, X).fit(X, y.astype(np.float32))
    callbacks = dict(trained.callbacks_)
    recorder, proba = callbacks["recorder"].recorder_, callbacks["seen"].proba_
    assert_close(recorder.loss[3], -np.log(proba[3][np.arange(N), y]), rtol=1e-4, atol=1e-5)


def test_a_net_that_goes_on_goes_on_in_its_record_and_one_that_starts_again_does_not():
    X, y = table()
    trained = net(X=X, outputs=5, recorder=RecorderCallback(n_classes=5, history=False)).fit(X, y)
    recorder = dict(trained.callbacks_)["recorder"].recorder_
    assert (recorder.n_classes, recorder.history, recorder.epochs) == (5, False, 4)
    trained.partial_fit(X, y)
    assert dict(trained.callbacks_)["recorder"].recorder_ is recorder and recorder.epochs == 8
    trained.fit(X, y)
    assert dict(trained.callbacks_)["recorder"].recorder_.epochs == 4


RULE = HeldOutLoss(patience=2, smooth=1)


class Weights(Callback):
    """The net's weights after each epoch; it stands before the recorder, which ends the last one."""

    def on_train_begin(self, net, **kwargs):
        self.seen_ = []

    def on_epoch_end(self, net, **kwargs):
        self.seen_.append({name: value.clone() for name, value in net.module_.state_dict().items()})


def test_a_rule_ends_the_training_and_the_net_holds_the_average():
    X, y = table()
    y = np.random.default_rng(1).integers(K, size=N)  # nothing but noise
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm1d(D), nn.Linear(D, 32), nn.ReLU(), nn.Linear(32, K), nn.Softmax(dim=1))
    callbacks = [("weights", Weights()), ("recorder", RecorderCallback(rule=RULE, average=3))]
    trained = NeuralNetClassifier(module, max_epochs=40, lr=0.5, batch_size=16, verbose=0, callbacks=callbacks)
    trained.fit(X, y)
    recorder, seen = (dict(trained.callbacks_)[name] for name in ("recorder", "weights"))
    stop = find_stop(RULE, recorder.recorder_)
    assert recorder.recorder_.epochs == stop.stopped + 1 < 40 and recorder.stop_ == stop
    assert recorder.averaged_ == list(range(max(stop.chosen - 1, 0), stop.chosen + 2))
    window = seen.seen_[max(stop.chosen - 1, 0) : stop.chosen + 2]
    for name, value in trained.module_.named_parameters():
        assert_close(value.detach(), torch.stack([one[name] for one in window]).mean(0), rtol=1e-6, atol=1e-7)
    seen = X[~recorder.recorder_.held_out].mean(0)  # its statistics are estimated anew, on what was trained on
    assert_close(trained.module_[0].running_mean, seen, rtol=1e-4, atol=1e-5)
    trained.partial_fit(X, y)  # which goes on: the rule has ended
    assert recorder.recorder_.epochs == stop.stopped + 2 and recorder.stop_.chosen == stop.chosen


def stopped(rule=RULE, **options):
    """A net with batch norm that a rule has stopped, and its callback."""
    X, y = table()
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm1d(D), nn.Linear(D, 32), nn.ReLU(), nn.Linear(32, K), nn.Softmax(dim=1))
    how = {"max_epochs": 40, "lr": 0.5, "batch_size": 16, "verbose": 0, **options}
    trained = NeuralNetClassifier(module, callbacks=[("recorder", RecorderCallback(rule=rule, average=3))], **how)
    trained.fit(X, np.random.default_rng(1).integers(K, size=N))
    return trained, dict(trained.callbacks_)["recorder"]


@pytest.mark.parametrize("sizes", [{"batch_size": -1}, {"batch_size": 2}, {"iterator_valid__batch_size": 1}])
def test_batch_norm_takes_its_statistics_whatever_the_sizes_of_batches(sizes):
    trained, recorder = stopped(**sizes)
    assert len(recorder.averaged_) > 1
    X = table()[0][~recorder.recorder_.held_out]
    parts = mixed(np.ones(len(X), bool), trained.batch_size if trained.batch_size > 0 else N)
    means = np.stack([X[part].mean(0) for part in parts])  # the statistics are means over the batches
    assert_close(trained.module_[0].running_mean, means.mean(0), rtol=1e-4, atol=1e-5)


def test_a_net_that_is_stopped_in_the_first_epoch_of_going_on_holds_its_average():
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    trained, recorder = stopped()
    before, averaged = [value.clone() for value in trained.module_.parameters()], recorder.averaged_
    trained.callbacks_.append(("interrupt", Interrupt()))
    X, y = table()[0], recorder.recorder_.given
    trained.partial_fit(X, y)
    for value, same in zip(trained.module_.parameters(), before, strict=True):
        assert torch.equal(value, same)
    assert recorder.averaged_ == averaged
    trained.set_params(max_epochs=0)
    trained.partial_fit(X, y)


def test_of_a_part_of_a_data_set_nothing_else_is_recorded():
    """Neither its own validation samples nor those of nobody are in the record of a net that is given a Subset."""
    X, y = table()
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    part, rest = Subset(data, list(range(5, 35))), Subset(data, list(range(40, 50)))
    for split, held_out in ((None, None), (predefined_split(rest), None), (ValidSplit(5), 6)):
        trained = net(X=X, train_split=split, classes=[0, 1, 2]).fit(part, None)
        recorder = dict(trained.callbacks_)["recorder"].recorder_
        assert recorder.n_samples == 30 and recorder.given.tolist() == y[5:35].tolist()
        assert (recorder.held_out is None) if held_out is None else recorder.held_out.sum() == held_out


def test_a_net_that_goes_on_with_other_samples_held_out_is_refused():
    X, y = table()
    for split, rows in ((ValidSplit(0.2), N), (ValidSplit(5), N - 1)):
        trained = net(X=X, train_split=split).fit(X, y)
        before = [value.clone() for value in trained.module_.parameters()]
        with pytest.raises(InputError, match=r"must be given the same samples and hold the same of them out, got oth"):
            trained.partial_fit(X[:rows], y[:rows])
        assert all(map(torch.equal, before, trained.module_.parameters()))  # nothing was trained
        trained.fit(X[:rows], y[:rows])  # which starts again


def test_the_loss_of_a_net_that_is_no_classifier_is_given_log_probabilities():
    X, y = table()
    module = nn.Sequential(nn.Linear(D, K), nn.LogSoftmax(dim=1))
    trained = NeuralNet(
        module, criterion=nn.NLLLoss, max_epochs=2, verbose=0, callbacks=[("recorder", RecorderCallback(K))]
    ).fit(X, y)
    recorder = dict(trained.callbacks_)["recorder"].recorder_
    assert_close(recorder.loss[1], -trained.predict(X)[np.arange(N), y], rtol=1e-4, atol=1e-5)


def test_a_rule_without_held_out_samples_and_what_is_no_rule_are_refused():
    X, y = table()
    for split in (None, predefined_split(Dataset(X, y))):
        with pytest.raises(InputError, match="`train_split` must keep samples of the data for validation, got none; H"):
            net(X=X, recorder=RecorderCallback(rule=RULE), train_split=split).fit(X, y)
    with pytest.raises(InputError, match="`rule` must be a stop rule or None, got 'loss'"):
        net(X=X, recorder=RecorderCallback(rule="loss")).fit(X, y)
    with pytest.warns(UserWarning, match="`average` all goes with RunningMean"):
        RecorderCallback(rule=RULE, average="all").initialize()


def test_outputs_of_other_classes_are_refused():
    X, y = table()
    with pytest.raises(InputError, match="must have shape"):
        net(X=X, recorder=RecorderCallback(n_classes=2)).fit(X, y)
