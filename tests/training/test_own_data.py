"""`fit` on somebody's own arrays: a table, no test set, no truth, a mask of one's own; the average in any loop."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images.from_arrays import data_from_arrays
from labelnoise.record.stop_rules import HeldOutLoss, LabelWave
from labelnoise.record.watching import Watch
from labelnoise.training.averaging import average_weights, refresh_batch_norm
from labelnoise.training.config import TrainConfig
from labelnoise.training.kept_weights import KeptWeights
from labelnoise.training.loop import fit
from labelnoise.training.weight_stores import SumsOnward

pytestmark = pytest.mark.usefixtures("one_thread")


def table(n=300, wrong=0.2):
    """Two classes that a line tells apart, with wrong labels; what is true is returned beside it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 20))
    true = (x[:, 0] + x[:, 1] > 0).astype(int)
    return x, np.where(rng.random(n) < wrong, 1 - true, true), true


def network(features=20):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(features, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))


SHORT = TrainConfig(epochs=25, lr=0.05, patience=4, device="cpu")


def test_a_table_without_truth_and_without_test(tmp_path):
    x, given, true = table()
    logs = [fit(network(), data_from_arrays(x, given), SHORT, stop=True, folder=place) for place in (None, tmp_path)]
    for log in logs:
        unknown = ["train_accuracy_clean", "train_accuracy_noisy", "test_loss", "test_accuracy", "selection_f1"]
        assert log.table[unknown].isna().all(axis=None)
        assert log.table[["train_accuracy", "held_out_accuracy", "held_out_loss"]].notna().all(axis=None)
        assert log.stops.oracle is None and log.stops.rule.epoch == log.weights_epoch and log.status == "ok"
        assert np.isnan(log.returned["test_accuracy"]) and log.returned["held_out_accuracy"] > 0.6
    assert_close(logs[0].recorder.margin, logs[1].recorder.margin, rtol=0)
    with torch.no_grad():
        data = data_from_arrays(x, given).on("cpu")
        assert (log.model(data.normalise(data.x_train)).argmax(1).numpy() == true).mean() > 0.85


def test_a_truth_says_what_is_clean_and_moves_nothing():
    x, given, true = table()
    plain, known = (fit(network(), data_from_arrays(x, given, y_true=t), SHORT) for t in (None, true))
    assert_close(plain.recorder.margin, known.recorder.margin, rtol=0)
    noisy, trained = true != given, ~known.held_out
    fitted = known.recorder.margin[-1] > 0
    assert known.table["train_accuracy_noisy"].iloc[-1] == pytest.approx(fitted[noisy & trained].mean())
    assert known.table["train_accuracy_clean"].iloc[-1] == pytest.approx(fitted[~noisy & trained].mean())


def test_a_mask_of_ones_own(tmp_path):
    x, given, _ = table()
    mask = np.arange(300) % 4 == 1
    data = data_from_arrays(x, given)
    log = fit(network(), data, SHORT, held_out=list(mask), folder=tmp_path)
    assert_close(log.held_out, mask)
    assert (np.isnan(log.batches.margin) == mask).all()
    again = fit(network(), data, SHORT, held_out=torch.as_tensor(mask), folder=tmp_path)
    assert_close(again.recorder.margin, log.recorder.margin, rtol=0)
    with pytest.raises(InputError, match="must hold checkpoints of this run, but those there were trained on other"):
        fit(network(), data, SHORT, held_out=~mask, folder=tmp_path)
    none = fit(network(), data, SHORT, held_out=np.zeros(300, bool))
    assert none.stops.held_out is None and none.table["held_out_loss"].isna().all()


def test_label_wave_needs_no_held_out_samples():
    x, given, _ = table()
    log = fit(network(), data_from_arrays(x, given), SHORT, stop=LabelWave(), held_out=np.zeros(300, bool))
    assert log.stops.rule.ended == len(log.table) and log.stops.rule.fall is None


# ---- any loop


def losses(model, x, y):
    model.eval()
    with torch.no_grad():
        logits = model(x)
    return nn.functional.cross_entropy(logits, y, reduction="none"), logits.argmax(1) == y


def loop(epochs, watch, kept, model, start=0, average=True):
    """An ordinary training loop, and the lines that stopping adds."""
    x, given, _ = table()
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(given)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    weights = []
    for epoch in range(start, epochs):
        model.train()
        torch.manual_seed(epoch)
        for batch in torch.randperm(250).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        loss, fitted = losses(model, x[250:], y[250:])
        stop = watch.observe(loss=loss, fitted=fitted)
        kept.take()
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        if stop.stopped is not None:
            break
    return x[:250].split(50), weights


@pytest.mark.parametrize("average", [1, 5, "onward", "all"])
def test_the_average_in_a_loop_of_ones_own(average):
    model, watch = network(), Watch(HeldOutLoss(patience=5))
    kept = KeptWeights(model, watch, average)
    batches, weights = loop(40, watch, kept, model)
    records = kept.load_average(batches)
    chosen, last = watch.stop.chosen, len(weights)
    around = {
        1: (chosen, chosen + 1),
        5: (chosen - 2, chosen + 3),
        "onward": (chosen - 2, chosen + 7),
        "all": (0, chosen + 1),
    }
    assert watch.ended and chosen > 2 and records == list(range(*around[average]))[: last - around[average][0]]
    assert not model.training
    mean = average_weights([weights[at] for at in records])
    for name, value in model.named_parameters():
        assert_close(
            value.detach().numpy(), mean[name].numpy(), rtol=1e-5 if isinstance(average, str) else 1e-12, atol=1e-7
        )
    if average != 1:
        assert len(records) > 2
        first = torch.stack([model[0](batch).mean(0) for batch in batches]).mean(0)
        assert_close(model[1].running_mean.numpy(), first.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("average", [5, "onward", "all"])
def test_kept_weights_go_on_from_their_state(average):
    models = [network() for _ in range(2)]
    watches = [Watch(HeldOutLoss(patience=5)) for _ in models]
    keepers = [KeptWeights(model, watch, average) for model, watch in zip(models, watches, strict=True)]
    batches, _ = loop(40, watches[0], keepers[0], models[0])
    loop(4, watches[1], keepers[1], models[1])
    watch = Watch(HeldOutLoss(patience=5))
    watch.load_state_dict(watches[1].state_dict())
    kept = KeptWeights(models[1], watch, average)
    kept.load_state_dict(keepers[1].state_dict())
    loop(40, watch, kept, models[1], start=4)
    assert kept.load_average(batches) == keepers[0].load_average(batches)
    for one, two in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("chosen", "expected"), [(0, range(9)), (2, range(9)), (3, range(1, 10)), (9, range(7, 16)), (14, range(12, 16))]
)
def test_a_sum_is_of_nine_records_from_the_second_before_the_choice(chosen, expected):
    """Of powers of two, so that a sum tells its members."""
    watch, store = Watch(HeldOutLoss(smooth=1)), SumsOnward()
    for at in range(16):
        watch.observe(loss=1.0 + abs(at - chosen))
        store.take({"w": torch.tensor([2.0**at])}, watch)
    assert watch.stop.chosen == chosen and store.averaged(chosen) == list(expected)
    assert store.average(chosen)["w"].item() == pytest.approx(sum(2.0**at for at in expected) / len(expected))
    assert set(store.sums) == set(store.summed) == {chosen}


def test_a_sum_of_coarse_numbers_is_a_fine_one_and_counts_are_those_of_the_choice():
    watch, store = Watch(HeldOutLoss(smooth=1)), SumsOnward()
    for at, loss in enumerate([0.9, 0.5, 0.1, 0.8, 0.9]):
        watch.observe(loss=loss)
        store.take({"w": torch.tensor([1 + at / 128], dtype=torch.bfloat16), "count": torch.tensor(at)}, watch)
    assert watch.stop.chosen == 2 and store.averaged(2) == [0, 1, 2, 3, 4]
    assert store.average(2)["w"].dtype == torch.float32 and store.average(2)["w"].tolist() == [1 + 2 / 128]
    assert int(store.average(2)["count"]) == 2


def test_a_state_of_sums_is_taken_over():
    assert onward(sums()).state_dict()["summed"] == {"0": [0]}


def test_counts_are_taken_from_the_middle_and_means_keep_small_numbers():
    states = [{"w": torch.tensor([1e-8, 1.0 + at]), "count": torch.tensor(at)} for at in range(3)]
    mean = average_weights(states)
    assert_close(mean["w"].numpy(), np.array([1e-8, 2.0], np.float32), rtol=1e-6)
    assert int(mean["count"]) == 1 and mean["w"].dtype == torch.float32


def test_batch_norm_is_refreshed_without_dropout_and_other_layers_stay():
    class Counts(nn.Dropout):
        drawn = 0

        def forward(self, x):
            self.drawn += self.training
            return super().forward(x)

    model = nn.Sequential(nn.Linear(3, 4), Counts(0.5), nn.BatchNorm1d(4), nn.BatchNorm1d(4, track_running_stats=False))
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    before = [value.clone() for value in model.parameters()]
    refresh_batch_norm(model.train(), x.split(20))
    assert model[1].drawn == 0 and not model.training
    assert all(torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True))
    seen = model[0](x).detach()
    expected = torch.stack([part.mean(0) for part in seen.split(20)]).mean(0)
    assert_close(model[2].running_mean.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    spread = torch.stack([part.var(0) for part in seen.split(20)]).mean(0)
    assert_close(model[2].running_var.numpy(), spread.numpy(), rtol=1e-5)


def copies():
    """A state of the time when the average was of five."""
    return {"0": network().state_dict()}


def sums():
    """A state of one record."""
    return {"copies": copies(), "sums": copies(), "summed": {"0": [0]}}


def onward(state):
    """From such a state."""
    kept = KeptWeights(network(), Watch(LabelWave()))
    kept.load_state_dict(state)
    return kept


def of_all(state=None):
    """Of all records up to the choice, from such a state."""
    kept = KeptWeights(network(), Watch(LabelWave()), "all")
    if state is not None:
        kept.load_state_dict(state)
    return kept


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeptWeights(3, Watch(LabelWave())), "`model` must be a torch module, got 3"),
        (lambda: KeptWeights(network(), LabelWave()), r"`watch` must be a Watch; write for example Watch\(HeldOutLoss"),
        (lambda: KeptWeights(network(), Watch(LabelWave()), 2), "`average` must be odd"),
        (lambda: KeptWeights(network(), Watch(LabelWave())).take(), "`take` needs an observed record, got none"),
        (lambda: KeptWeights(network(), Watch(LabelWave())).load_average(), "`load_average` needs the chosen record"),
        (lambda: KeptWeights(network(), Watch(LabelWave()), 5).load_state_dict({"0": {}}), "must hold weights of this"),
        (lambda: KeptWeights(network(), Watch(LabelWave()), "al"), "an odd number of records, onward or all, got 'al'"),
        (
            lambda: onward(copies()),
            "must hold sums of this network's weights, got .*; save it, .* before there were sums, 5",
        ),
        (lambda: onward({**sums(), "summed": {"0": [1]}}), "must hold sums of this network's weights"),
        (lambda: onward({**sums(), "summed": {"0": [0, 11]}}), "must hold sums of this network's weights"),
        (lambda: onward({**sums(), "summed": {}}), "must hold sums of this network's weights"),
        (lambda: onward({**sums(), "copies": {"0": {"w": 1}}}), "must hold sums of this network's weights"),
        (lambda: of_all({}), "must hold the mean of this network's weights so far, got {}"),
        (lambda: of_all({"records": 1, "mean": {"w": 1}, "at": {}}), "must hold the mean of this network's weights"),
        (lambda: of_all().load_average(), "`load_average` needs the chosen record"),
        (lambda: unbatched(), "`batches` must hold inputs for batch norm, got none; give those of the training"),
    ],
)
def test_what_cannot_be_kept_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("average", [5, "onward", "all"])
def test_a_choice_at_which_nothing_was_taken_is_refused_whatever_its_neighbours(average):
    watch = Watch(HeldOutLoss(smooth=1))
    kept = KeptWeights(network(), watch, average)
    for loss, taken in ((0.5, True), (0.4, False), (0.6, True)):
        watch.observe(loss=loss)
        if taken:
            kept.take()
    assert watch.stop.chosen == 1
    with pytest.raises(InputError, match="`load_average` needs the chosen record"):
        kept.load_average()


def unbatched():
    watch = Watch(HeldOutLoss())
    kept = KeptWeights(network(), watch)
    for loss in (0.5, 0.4):
        watch.observe(loss=loss)
        kept.take()
    kept.load_average()
