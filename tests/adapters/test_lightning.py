"""Lightning: a small module trained by its Trainer, its record against the network's own outputs."""

import functools
import importlib.util

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from helpers import assert_close
from labelnoise.adapters.evaluation import mixed
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import HeldOutLoss
from labelnoise.record.watching import find_stop

pytestmark = [
    pytest.mark.slow,  # loading the library takes four seconds
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of Lightning: few workers, no loggers
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
if importlib.util.find_spec("lightning") is None:
    pytest.skip("lightning is not installed", allow_module_level=True)
N, D, K = 48, 5, 3


def table():
    X = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    return X, X[:, :K].argmax(1)


@functools.cache
def lightning():
    """Loaded where these tests run: it takes each process that collects them five seconds."""
    return importlib.import_module("lightning.pytorch")


@functools.cache
def module_class():
    class Module(lightning().LightningModule):
        """Dropout, so that train mode and eval mode differ; what eval mode says after each epoch is kept."""

        def __init__(self, returns=("index", "logits", "labels")):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, K))
            self.returns, self.seen, self.steps = returns, [], []

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, at):
            index, x, y = batch
            assert self.net.training
            logits = self(x)
            self.steps.append((self.current_epoch, index, logits.detach()))
            found = {"index": index, "logits": logits, "labels": y}
            return {"loss": nn.functional.cross_entropy(logits, y), **{name: found[name] for name in self.returns}}

        def validation_step(self, batch, at):
            self.log("loss", nn.functional.cross_entropy(self(batch[1]), batch[2]))

        def on_train_epoch_end(self):
            self.net.eval()
            with torch.no_grad():
                self.seen.append(self(table()[0]).numpy())
            self.net.train()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.2)

    return Module


def loader(shuffle):
    X, y = table()
    generator = torch.Generator().manual_seed(1)
    return DataLoader(TensorDataset(torch.arange(N), X, y), 16, shuffle=shuffle, generator=generator)


def callback(recorder, batches=None, **options):
    from labelnoise.adapters.lightning import RecorderCallback

    return RecorderCallback(recorder, batches, **options)


def trainer(folder, *callbacks, epochs=3, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    save = any(isinstance(item, lightning().callbacks.ModelCheckpoint) for item in callbacks)
    return lightning().Trainer(
        max_epochs=epochs, callbacks=list(callbacks), default_root_dir=folder, enable_checkpointing=save,
        **{**quiet, **options},
    )  # fmt: skip


@pytest.mark.parametrize("validated", [False, True])
def test_every_epoch_is_evaluated(tmp_path, validated):
    recorder, module = Recorder(N, K, held_out=np.arange(N) % 5 == 0), module_class()(returns=())
    train = trainer(tmp_path, callback(recorder, loader(shuffle=True)))
    train.fit(module, loader(shuffle=True), *[loader(shuffle=False)][:validated])
    assert recorder.epochs == 3 and len(module.seen) == 3
    for epoch, logits in enumerate(module.seen):
        assert_close(recorder.prediction[epoch], logits.argmax(1).astype(np.int32))
        log_p = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()
        assert_close(recorder.loss[epoch], -log_p[np.arange(N), table()[1]], rtol=1e-4, atol=1e-5)
    assert_close(recorder.given, table()[1].numpy())


def test_what_the_training_steps_return_is_recorded(tmp_path):
    recorder, module = Recorder(N, K), module_class()()
    trainer(tmp_path, callback(recorder)).fit(module, loader(shuffle=True))
    assert recorder.epochs == 3
    for epoch, index, logits in module.steps:
        assert_close(recorder.prediction[epoch][index], logits.argmax(1).numpy().astype(np.int32))
        assert np.isfinite(recorder.margin[epoch][index]).all()


@pytest.mark.parametrize("returns", [(), ("index", "labels")])
def test_a_step_that_returns_no_logits_is_refused(tmp_path, returns):
    with pytest.raises(InputError, match="`training_step` must return a dict with index, logits, labels beside loss"):
        trainer(tmp_path, callback(Recorder(N, K))).fit(module_class()(returns), loader(shuffle=True))


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("evaluated", [False, True])
def test_a_training_that_resumes_goes_on_in_its_record(tmp_path, validated, evaluated):
    batches = loader(shuffle=False) if evaluated else None
    val = [loader(shuffle=False)][:validated]
    first = Recorder(N, K)
    saved = lightning().callbacks.ModelCheckpoint(
        tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=not validated
    )
    trainer(tmp_path, callback(first, batches), saved).fit(module_class()(), loader(shuffle=True), *val)
    path = tmp_path / "epoch=1.ckpt"
    second = Recorder(N, K)
    trainer(tmp_path, callback(second, batches), epochs=4).fit(
        module_class()(), loader(shuffle=True), *val, ckpt_path=path, weights_only=True
    )
    assert second.epochs == 4
    np.testing.assert_array_equal(second.margin[:2], first.margin[:2])
    assert np.isfinite(second.margin).all()


@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("validated", [False, True])
def test_a_checkpoint_of_the_last_step_of_an_epoch_holds_that_epoch(tmp_path, evaluated, validated):
    batches, val = (loader(shuffle=False) if evaluated else None), [loader(shuffle=False)][:validated]
    saved = lightning().callbacks.ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=3)
    first, second = Recorder(N, K), Recorder(N, K)
    trainer(tmp_path, callback(first, batches), saved, epochs=2).fit(module_class()(), loader(shuffle=True), *val)
    trainer(tmp_path, callback(second, batches), epochs=4).fit(
        module_class()(), loader(shuffle=True), *val, ckpt_path=tmp_path / "step=6.ckpt", weights_only=True
    )
    assert second.epochs == 4
    np.testing.assert_array_equal(second.margin[:2], first.margin[:])


@pytest.mark.parametrize("evaluated", [False, True])
def test_who_validates_or_tests_a_trained_module_moves_no_record(tmp_path, evaluated):
    class Tested(module_class()):
        test_step = module_class().validation_step

    recorder, module = Recorder(N, K), Tested()
    watched = callback(recorder, loader(shuffle=False) if evaluated else None)
    saved = lightning().callbacks.ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    train = trainer(tmp_path, watched, saved)
    train.fit(module, loader(shuffle=True))
    margin, first = recorder.margin[:], tmp_path / "epoch=0.ckpt"
    for ask in (train.validate, train.test):
        for path in (None, first):
            ask(module, loader(shuffle=False), ckpt_path=path, verbose=False, weights_only=bool(path))
            np.testing.assert_array_equal(recorder.margin[:], margin)
    train.fit_loop.max_epochs = 4
    train.fit(module, loader(shuffle=True))
    assert recorder.epochs == 4


def test_the_older_name_of_the_library_serves_too(tmp_path):
    import pytorch_lightning

    assert pytorch_lightning.Trainer is not lightning().Trainer

    class Older(pytorch_lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(D, K)

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, at):
            return nn.functional.cross_entropy(self(batch[1]), batch[2])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.2)

    recorder = Recorder(N, K)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    pytorch_lightning.Trainer(
        max_epochs=2, callbacks=[callback(recorder, loader(False))], enable_checkpointing=False, **quiet
    ).fit(Older(), loader(True))
    assert recorder.epochs == 2


OUT = np.arange(N) % 3 == 0
RULE = HeldOutLoss(patience=2, smooth=1)


def noise(trained_alone):
    """Labels that are nothing but noise, so that a rule soon ends the training."""
    X, y = table()[0], torch.randint(K, (N,), generator=torch.Generator().manual_seed(3))
    data = TensorDataset(torch.arange(N), X, y)
    return DataLoader(Subset(data, np.flatnonzero(~OUT).tolist()) if trained_alone else data, 16)


def mean_of_trained(parts):
    """Of the inputs that were trained on, as batch norm takes it: the mean over the batches."""
    return torch.stack([table()[0][part[~OUT[part]]].mean(0) for part in parts]).mean(0)


@functools.cache
def weights_class():
    class Weights(lightning().Callback):
        """The module's weights after each epoch."""

        def on_train_start(self, trainer, pl_module):
            self.seen = []

        def on_train_epoch_end(self, trainer, pl_module):
            self.seen.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    return Weights


def test_a_rule_ends_the_training_and_the_module_holds_the_average(tmp_path):
    recorder, weights, module = Recorder(N, K, held_out=OUT), weights_class()(), module_class()()
    module.net.insert(0, nn.BatchNorm1d(D))
    watched = callback(recorder, noise(False), rule=RULE, average=3)
    trainer(tmp_path, watched, weights, epochs=30).fit(module, noise(True))
    stop = find_stop(RULE, recorder)
    assert recorder.epochs == stop.stopped + 1 < 30
    window = weights.seen[max(stop.chosen - 1, 0) : stop.chosen + 2]
    for name, value in module.named_parameters():
        assert_close(value.detach(), torch.stack([one[name] for one in window]).mean(0), rtol=1e-6, atol=1e-7)
    assert (watched.stop, watched.averaged) == (stop, list(range(max(stop.chosen - 1, 0), stop.chosen + 2)))
    parts = mixed(np.ones(N, bool), 16)  # as data that are sorted by class need it
    assert_close(module.net[0].running_mean, mean_of_trained(parts), rtol=1e-4, atol=1e-5)


def test_inputs_may_have_names_and_the_precision_of_the_trainer(tmp_path):
    class Named(module_class()):
        def forward(self, inputs):
            return self.net(inputs["x"])

        def on_train_epoch_end(self):
            pass

    def batches(trained_alone):
        named = [(index, {"x": x}, y) for index, x, y in noise(trained_alone)]
        return DataLoader(named, batch_size=None)

    module, recorder = Named(), Recorder(N, K, held_out=OUT)
    module.net.insert(0, nn.BatchNorm1d(D))
    watched = callback(recorder, batches(False), rule=RULE)
    trainer(tmp_path, watched, epochs=2, precision="64-true").fit(module, batches(True))
    assert recorder.epochs == 2 and module.net[0].running_mean.dtype == torch.float64
    parts = np.split(np.arange(N), range(16, N, 16))
    assert_close(module.net[0].running_mean, mean_of_trained(parts).double(), rtol=1e-4, atol=1e-5)


def test_a_second_fit_goes_on_in_the_record(tmp_path):
    recorder, module = Recorder(N, K, held_out=OUT), module_class()()
    watched = callback(recorder, noise(False), rule=HeldOutLoss(9))
    for epochs in (1, 2):
        trainer(tmp_path, watched, epochs=1).fit(module, noise(True))
        assert recorder.epochs == epochs and find_stop(HeldOutLoss(9), recorder).chosen == watched.stop.chosen


def test_a_training_that_resumes_stops_as_one_that_was_never_interrupted(tmp_path):
    def fit(recorder, folder, epochs, **options):
        saved = lightning().callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        module = module_class()()
        module.net[2].p = 0.0  # what dropout draws is not among what a checkpoint holds
        watched = callback(recorder, noise(False), rule=RULE, average=3)
        trainer(folder, watched, saved, epochs=epochs).fit(module, noise(True), **options)
        return module

    whole, first, second = (Recorder(N, K, held_out=OUT) for _ in range(3))
    module = fit(whole, tmp_path / "whole", 30)
    fit(first, tmp_path / "first", 2)
    again = fit(second, tmp_path / "second", 30, ckpt_path=tmp_path / "first" / "epoch=1.ckpt", weights_only=True)
    assert second.epochs == whole.epochs < 30
    for own, same in zip(again.state_dict().values(), module.state_dict().values(), strict=True):
        assert_close(own, same, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        (lambda: iter(noise(False)), "`batches` must be gone through once an epoch, got"),
        (lambda: [batch[1:] for batch in noise(False)], r"`batches` must give \(index, inputs, labels\), got"),
        (lambda: table()[0], r"`batches` must give \(index, inputs, labels\), got"),
    ],
)
def test_batches_of_another_kind_are_refused(tmp_path, batches, said):
    with pytest.raises(InputError, match=said):
        trainer(tmp_path, callback(Recorder(N, K), batches())).fit(module_class()(returns=()), noise(True))


def test_a_rule_without_batches_is_refused():
    with pytest.raises(InputError, match="`batches` must be given with a rule, got None"):
        callback(Recorder(N, K, held_out=OUT), rule=RULE)
    with pytest.raises(InputError, match="`recorder` must have held-out samples, got none"):
        callback(Recorder(N, K), noise(False), rule=RULE)
    with pytest.warns(UserWarning, match="`average` all goes with RunningMean"):
        callback(Recorder(N, K, held_out=OUT), noise(False), rule=RULE, average="all")


def test_what_is_no_recorder_is_refused():
    with pytest.raises(InputError, match="`recorder` must be a Recorder, got None"):
        callback(None)
