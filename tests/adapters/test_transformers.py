"""Hugging Face: a tiny BERT with random weights trained by the Trainer, its record against the model's own outputs."""

import functools
import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from helpers import assert_close
from labelnoise.adapters.evaluation import mixed
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import HeldOutLoss
from labelnoise.record.watching import find_stop

pytestmark = [
    pytest.mark.slow,  # loading the library takes three seconds
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
if importlib.util.find_spec("transformers") is None:
    pytest.skip("transformers is not installed", allow_module_level=True)
N, LENGTH, K = 20, 6, 3


def samples(name="labels"):
    ids = torch.randint(5, 30, (N, LENGTH), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "attention_mask": torch.ones_like(row), name: int(row[0]) % K} for row in ids]


def model():
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=LENGTH, num_labels=K, hidden_dropout_prob=0.3,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


@functools.cache
def seen_class():
    import transformers

    class Seen(transformers.TrainerCallback):
        """What the model itself says after each epoch."""

        def __init__(self, data):
            self.data, self.logits = data, []

        def on_epoch_end(self, args, state, control, model, **kwargs):
            mode = model.training
            model.eval()
            batch = transformers.default_data_collator(self.data)
            with torch.no_grad():
                outputs = model(batch["input_ids"], attention_mask=batch["attention_mask"])
            self.logits.append((outputs[0] if isinstance(outputs, tuple) else outputs.logits).numpy())
            model.train(mode)

    return Seen


def train(
    folder,
    recorder,
    data=None,
    train_dataset=None,
    epochs=3,
    resume=None,
    collator=None,
    rule=None,
    net=None,
    kind=None,
    **options,
):
    import transformers

    from labelnoise.adapters.transformers import RecorderCallback

    data = data or samples()
    arguments = transformers.TrainingArguments(
        str(folder), num_train_epochs=epochs, per_device_train_batch_size=8, per_device_eval_batch_size=7,
        learning_rate=1e-2, report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no",
        dataloader_pin_memory=False, **{"save_strategy": "epoch", **options},
    )  # fmt: skip
    seen = seen_class()(data)
    callback = RecorderCallback(recorder, None if train_dataset is None else data, collator, rule, average=3)
    trainer = (kind or transformers.Trainer)(
        net or model(), arguments, train_dataset=train_dataset or data, callbacks=[callback, seen],
        data_collator=transformers.default_data_collator,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return seen


def check(recorder, seen, epochs):
    labels = np.array([sample["labels"] for sample in samples()])
    assert recorder.epochs == epochs and len(seen.logits) == epochs
    for epoch, logits in enumerate(seen.logits):
        log_p = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()
        assert_close(recorder.loss[epoch], -log_p[np.arange(N), labels], rtol=1e-4, atol=1e-5)
        assert_close(recorder.prediction[epoch], logits.argmax(1).astype(np.int32))
    assert_close(recorder.given, labels)


def test_every_epoch_of_the_training_data_is_recorded(tmp_path):
    recorder = Recorder(N, K)
    check(recorder, train(tmp_path, recorder), 3)
    assert not np.allclose(recorder.margin[0], recorder.margin[2])


def test_held_out_samples_are_recorded_and_not_trained_on(tmp_path):
    out = np.arange(N) % 4 == 0
    recorder, data = Recorder(N, K, held_out=out), samples()
    check(recorder, train(tmp_path, recorder, train_dataset=[data[at] for at in np.flatnonzero(~out)]), 3)
    assert recorder.sums.stop is not None


@pytest.mark.parametrize("saved", [{}, {"save_strategy": "steps", "save_steps": 2}])
def test_a_training_that_resumes_goes_on_in_its_record(tmp_path, saved):
    """Also from the checkpoint of an epoch's last step, which the Trainer writes before the epoch ends."""
    first, second = Recorder(N, K), Recorder(N, K)
    train(tmp_path, first, epochs=2, **saved)
    seen = train(tmp_path, second, epochs=4, resume=True, **saved)
    assert second.epochs == 4 and len(seen.logits) == 2
    np.testing.assert_array_equal(second.margin[:2], first.margin)
    assert_close(second.prediction[3], seen.logits[1].argmax(1).astype(np.int32))


OUT = np.arange(N) % 3 == 0
RULE = HeldOutLoss(patience=2, smooth=1)


def test_a_rule_ends_the_training_and_the_model_holds_the_average(tmp_path):
    data = samples()
    for sample, label in zip(data, np.random.default_rng(0).integers(K, size=N), strict=True):
        sample["labels"] = int(label)  # nothing but noise
    trained = [data[at] for at in np.flatnonzero(~OUT)]
    recorder, net = Recorder(N, K, held_out=OUT), model()
    constant = {"rule": RULE, "lr_scheduler_type": "constant"}
    train(tmp_path / "whole", recorder, data, trained, epochs=30, net=net, **constant)
    stop = find_stop(RULE, recorder)
    assert recorder.epochs == stop.stopped + 1 < 30
    steps = -(-len(trained) // 8)
    window = range(max(stop.chosen - 1, 0), stop.chosen + 2)
    folders = [tmp_path / "whole" / f"checkpoint-{steps * (at + 1)}" for at in window]
    saved = [model().from_pretrained(folder).state_dict() for folder in folders]
    for name, value in net.state_dict().items():
        assert_close(value, torch.stack([one[name] for one in saved]).mean(0), rtol=1e-5, atol=1e-7)

    halves, again = (Recorder(N, K, held_out=OUT) for _ in range(2))
    train(tmp_path / "halves", halves, data, trained, epochs=2, **constant)
    second = model()
    train(tmp_path / "halves", again, data, trained, epochs=30, net=second, resume=True, **constant)
    assert find_stop(RULE, again) == stop
    with pytest.raises(InputError, match=f"`output_dir` must hold the record of step {steps}, from which"):
        train(
            tmp_path / "elsewhere", Recorder(N, K, held_out=OUT), data, trained, rule=RULE,
            resume=tmp_path / "whole" / f"checkpoint-{steps}",
        )  # fmt: skip
    for own, same in zip(second.state_dict().values(), net.state_dict().values(), strict=True):
        assert_close(own, same, rtol=1e-5, atol=1e-7)


class Small(nn.Module):
    """A model of one's own, with batch norm, that returns a tuple."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.linear = nn.BatchNorm1d(LENGTH), nn.Linear(LENGTH, K)

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.linear(self.norm(input_ids.float()))
        return (
            {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits} if labels is not None else (logits,)
        )


def test_batch_norm_takes_its_statistics_from_what_was_trained_on(tmp_path):
    data, net = samples(), Small()
    trained = [data[at] for at in np.flatnonzero(~OUT)]
    train(tmp_path, Recorder(N, K, held_out=OUT), data, trained, rule=RULE, net=net)
    ids = torch.stack([sample["input_ids"] for sample in trained]).float()
    parts = mixed(np.ones(len(trained), bool), 7)
    assert_close(net.norm.running_mean, torch.stack([ids[part].mean(0) for part in parts]).mean(0), rtol=1e-3)
    assert not np.allclose(
        net.norm.running_mean, torch.stack([s["input_ids"] for s in data]).float().mean(0), rtol=1e-2
    )


def test_data_of_another_size_and_batches_without_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match=rf"`recorder` must have a place for each of the {N} samples, got 7; give the"):
        train(tmp_path, Recorder(7, K))
    with pytest.raises(InputError, match="the batches must hold `labels`, got input_ids"):
        train(
            tmp_path, Recorder(N, K), collator=lambda rows: {"input_ids": torch.stack([r["input_ids"] for r in rows])}
        )


class Table(list):
    """Rows with the names of their columns, as those of `datasets`, which the Trainer rids of what no model takes."""

    @property
    def column_names(self):
        return list(self[0])

    def select_columns(self, names):
        return Table({name: row[name] for name in names} for row in self)


def test_columns_that_the_trainer_takes_away_are_taken_away(tmp_path):
    def collate(rows):
        assert not any("text" in row for row in rows)
        return transformers.default_data_collator(rows)

    import transformers

    data = Table({"text": "so", **row} for row in samples())
    trained = data.select_columns(["input_ids", "attention_mask", "labels"])
    recorder = Recorder(N, K)
    check(recorder, train(tmp_path, recorder, data, trained, collator=collate), 3)


def test_what_a_loss_of_ones_own_takes_and_the_model_does_not_is_left_out(tmp_path):
    import transformers

    class Weighted(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, **more):
            weight, labels = inputs.pop("weight"), inputs.pop("labels")
            loss = (nn.functional.cross_entropy(model(**inputs)[0], labels, reduction="none") * weight).mean()
            return (loss, {}) if return_outputs else loss

    data = [{**row, "weight": 1.0 + at} for at, row in enumerate(samples())]
    out, trained = Recorder(N, K, held_out=OUT), [data[at] for at in np.flatnonzero(~OUT)]
    train(tmp_path, out, data, trained, rule=RULE, net=Small(), kind=Weighted, remove_unused_columns=False)
    assert out.epochs > 1 and np.isfinite(out.margin[:]).all()


def test_a_stream_is_refused_before_the_training(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __len__(self):
            return N

        def __iter__(self):
            raise AssertionError("nothing is trained")

    with pytest.raises(InputError, match="the data set must give samples by position, got .*; give one with a length"):
        train(tmp_path, Recorder(N, K), Stream())


def test_a_mean_of_all_with_another_rule_than_the_running_mean_is_warned_of():
    from labelnoise.adapters.transformers import RecorderCallback

    with pytest.warns(UserWarning, match="`average` all goes with RunningMean"):
        RecorderCallback(Recorder(N, K, held_out=OUT), rule=RULE, average="all")
