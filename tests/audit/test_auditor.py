"""The auditor on small tables, texts, vectors and images whose wrong labels are known, and on input that is none."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import estimator_checks_generator

import labelnoise as ln
from labelnoise.audit import trainers
from labelnoise.audit.labels import read_labels
from labelnoise.audit.materials import read_material
from labelnoise.audit.recording import held_out_masks
from labelnoise.audit.trainers import find_trainer
from made_records import f1


def flipped(true, rate=0.15, seed=1):
    rng = np.random.default_rng(seed)
    k = true.max() + 1
    return np.where(rng.random(true.size) < rate, (true + rng.integers(1, k, size=true.size)) % k, true)


def table(n=400, seed=0):
    """Numbers with gaps, words with gaps, a truth value and a date, all of which say something of the class."""
    rng = np.random.default_rng(seed)
    true = rng.integers(2, size=n)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40 + 30 * true, 5)),
            "job": pd.Series(np.where(true == 1, "clerk", "smith"), dtype=object).mask(rng.random(n) < 0.1),
            "rich": true == 1,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
        }
    )
    return frame, true


def test_few_rows_are_learnt_from():
    """Three wrong labels of 30, of numbers that tell the classes apart; a training sees 20 of the rows."""
    ranks = []
    for seed in range(4):
        rng, true = np.random.default_rng(seed), np.arange(30) % 2
        given = np.where(np.arange(30) < 3, 1 - true, true)
        auditor = ln.LabelAuditor().fit(pd.DataFrame({"x": rng.normal(4 * true), "z": rng.normal(4 * true)}), given)
        ranks.extend(np.flatnonzero(auditor.suspects_["index"] < 3))
        assert np.isfinite(auditor.noise_rate_)
    assert np.mean(ranks) < 4  # by chance 14.5, at best 1


def found(auditor, given, true):
    return f1(auditor.flagged_, given != true)


@pytest.fixture(scope="module")
def people():
    frame, true = table()
    given = flipped(true)
    return frame, true, given, ln.LabelAuditor(folds=2).fit(frame, np.array(["no", "yes"])[given])


def test_a_mixed_table(people):
    frame, true, given, auditor = people
    assert found(auditor, given, true) > 0.9
    assert abs(auditor.noise_rate_ - (given != true).mean()) < 0.05
    low, high = auditor.noise_rate_interval_
    assert low <= auditor.noise_rate_ <= high
    assert list(auditor.suspects_) == ["index", "given", "suggested", "score", "confidence", "flagged"]
    assert set(auditor.suspects_["given"]) == {"no", "yes"} == set(auditor.classes_)
    assert auditor.transition_.loc["no"].sum() == pytest.approx(1)
    assert list(auditor.feature_names_in_) == list(frame) and auditor.n_features_in_ == 4
    flags = auditor.suspects_.set_index("index")["flagged"].sort_index().to_numpy()
    assert (flags == auditor.flagged_).all()


def test_clean_labels_replace_the_flagged_ones_only(people):
    _, true, given, auditor = people
    words = np.array(["no", "yes"])
    clean = auditor.clean_labels()
    assert (clean[~auditor.flagged_] == words[given][~auditor.flagged_]).all()
    assert (clean == words[true]).mean() > (given == true).mean() + 0.1
    with pytest.raises(ValueError, match="not fitted"):
        ln.LabelAuditor().clean_labels()


def test_what_fit_makes_is_asked_for_before_it(people):
    from sklearn.exceptions import NotFittedError

    made = [name for name in vars(people[-1]) if name.endswith("_") and not name.endswith("in_")]
    assert "suspects_" in made
    for name in made:
        with pytest.raises(NotFittedError, match=f"not fitted yet, so that it has no `{name}`; call `fit"):
            getattr(ln.LabelAuditor(), name)
    assert not hasattr(ln.LabelAuditor(), "suspects_") and not hasattr(ln.LabelAuditor(), "n_features_in_")
    with pytest.raises(AttributeError, match="'LabelAuditor' object has no attribute 'suspect_'"):
        ln.LabelAuditor().suspect_  # noqa: B018


def test_texts():
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=300)
    common = ["the", "a", "and", "of"]
    own = [["goal", "match", "team"], ["vote", "law", "party"], ["star", "planet", "orbit"]]
    texts = [" ".join(rng.choice(common, 4).tolist() + rng.choice(own[k], 3).tolist()) for k in true]
    given = flipped(true)
    auditor = ln.LabelAuditor().fit(texts, given)
    assert found(auditor, given, true) > 0.9
    assert not hasattr(auditor, "n_features_in_")


def test_vectors_and_any_classifier():
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=300)
    X = rng.normal(0, 1, (300, 70)) + 2 * rng.normal(0, 1, (3, 70))[true]
    given = flipped(true)
    for model in (None, LogisticRegression(C=0.01), SGDClassifier(random_state=0)):
        auditor = ln.LabelAuditor(model, folds=2).fit(X, given)
        assert found(auditor, given, true) > 0.75, model


class Sure(DecisionTreeClassifier):
    """A classifier to which the other class is impossible."""

    def predict_proba(self, X):
        return np.eye(2)[self.predict(X)]


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_classifier_gets_numbers_and_a_pipeline_the_samples_themselves(pipeline):
    frame, true = table(200)
    labels, out = read_labels("y", flipped(true)), np.arange(200) % 2 == 0
    texts = [f"{word} paper {at % 7}" for at, word in enumerate(np.array(["good", "bad"])[true])]
    by_name = make_column_transformer((OneHotEncoder(), ["job", "rich"]))
    for samples, prepare in ((frame, by_name), (texts, TfidfVectorizer())):
        tree = Sure(min_samples_leaf=20, random_state=0)
        trainer = find_trainer(read_material(samples), labels, make_pipeline(prepare, tree) if pipeline else tree)
        recorder = trainer.train(out, 0)
        assert (recorder.prediction[-1] == true)[out].mean() > 0.9, prepare
        assert np.isfinite(recorder.margin[-1][out]).all()  # also where a class seems impossible


def test_images_and_a_module(monkeypatch):
    import torch

    rng = np.random.default_rng(0)
    true = rng.integers(2, size=120)
    X = rng.integers(0, 60, (120, 8, 8)).astype(np.uint8)
    monkeypatch.setattr("labelnoise.audit.trainers.EPOCHS", 8)
    X[true == 1, :4] += 150
    given = flipped(true)
    torch.manual_seed(0)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    before = linear[1].weight.detach().clone()
    for model in (None, linear):
        auditor = ln.LabelAuditor(model, folds=1).fit(X, given)
        assert found(auditor, given, true) > 0.8, model
    assert torch.equal(before, linear[1].weight)  # copies were trained
    wide = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    with pytest.raises(
        ln.InputError, match=r"must return one logit a class \(2: no, yes\), got 3; give its last layer 2"
    ):
        ln.LabelAuditor(wide, folds=1).fit(X, np.array(["no", "yes"])[given])


@pytest.mark.parametrize(("n", "batch"), [(60, 8), (1000, 20), (2000, 32), (2001, 32)])
def test_few_images_come_in_small_batches(monkeypatch, n, batch):
    """In batches of 32 the default network takes six steps an epoch on 200 images, and learns nothing in 30 epochs."""
    material, labels = read_material(np.zeros((n, 4, 4), np.uint8)), read_labels("y", np.arange(n) % 2)
    trainer, configs = find_trainer(material, labels, None), []
    assert trainer.folds == (3 if n <= 2000 else 1)

    def fit(network, data, config, **_):
        configs.append(config)
        raise ln.InputError("no training is needed")

    monkeypatch.setattr("labelnoise.training.loop.fit", fit)
    with pytest.raises(ln.InputError, match="no training"):
        trainer.train(np.arange(n) % 10 == 0, 0)
    assert [config.batch_size for config in configs] == [batch] and f"batches of {batch}" in trainer.words


def test_a_network_that_diverged_is_judged_by_the_epochs_before_and_refused_without_any(monkeypatch):
    labels, mask = read_labels("y", np.arange(30) % 2), np.arange(30) % 10 == 0
    trainer = find_trainer(read_material(np.zeros((30, 4, 4), np.uint8)), labels, None)
    recorder = ln.Recorder(30, 2, held_out=mask)
    left = SimpleNamespace(status="the loss is not finite at epoch 2", recorder=recorder)
    monkeypatch.setattr("labelnoise.training.loop.fit", lambda *given, **named: left)
    with pytest.raises(ln.InputError, match="the training failed: the loss is not finite at epoch 2"):
        trainer.train(mask, 0)
    recorder.update(np.arange(30), np.eye(2)[labels.positions], labels.positions)
    recorder.end_epoch()
    assert trainer.train(mask, 0) is recorder


def test_of_many_vectors_and_of_a_network_that_is_given_one_training_is_the_default(monkeypatch):
    import torch

    monkeypatch.setattr(trainers, "DEAR", 30 * 64)
    of_few, of_many = (
        find_trainer(read_material(np.eye(n, 64)), read_labels("y", np.arange(n) % 2), None) for n in (30, 31)
    )
    assert (of_few.folds, of_many.folds) == (5, 1)
    material, labels = read_material(np.eye(30, 64)), read_labels("y", np.arange(30) % 2)
    given = (find_trainer(material, labels, model) for model in (DecisionTreeClassifier(), torch.nn.Linear(64, 2)))
    assert [trainer.folds for trainer in given] == [3, 1]
    assert of_few.words.endswith("hidden layer, 12 epochs") and of_many.words.endswith("hidden layer, 6 epochs")


def test_equal_fits_are_equal_and_seeds_are_not(people):
    frame, _, given, _ = people
    one, two, three = (ln.LabelAuditor(folds=2, random_state=seed).fit(frame, given).suspects_ for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(one, two)
    assert not one["score"].equals(three["score"])


def test_masks_hold_each_sample_out_once():
    labels = read_labels("y", np.array([0] * 100 + [1] * 30 + [2]))
    masks = held_out_masks(labels, 4, seed=0)
    assert (np.sum(masks, axis=0)[:130] == 1).all() and not np.any(masks, axis=0)[130]
    for mask in masks:
        assert mask[:100].sum() == 25 and 7 <= mask[100:130].sum() <= 8
    rare = read_labels("y", np.r_[np.zeros(100, int), np.ones(30, int), 2:42])  # forty classes of one sample
    (single,) = held_out_masks(rare, 1, seed=0)
    assert single[:100].sum() == 10 and single[100:130].sum() == 3 and not single[130:].any()


EXPECTED = {
    "check_n_features_in_after_fitting": "fits 15 samples, and at least 20 are needed",
    "check_fit2d_1feature": "fits 10 samples, and at least 20 are needed",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("each", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_it_is_an_estimator_of_scikit_learn(each):
    """By every fourth of its checks, and in the slow tests by all."""
    failed, checks = {}, list(estimator_checks_generator(ln.LabelAuditor(folds=2), mark=None))
    assert len(checks) > 40
    for estimator, check in checks[::each]:
        name = getattr(check, "func", check).__name__
        try:
            check(estimator)
        except Exception as error:
            if "Skip" not in type(error).__name__:
                failed[name] = str(error)
    assert set(failed) <= set(EXPECTED) and (each > 1 or set(failed) == set(EXPECTED)), failed
    assert all("at least 20 samples" in words for words in failed.values())


Y = np.arange(40) % 2
X = np.random.default_rng(0).normal(size=(40, 3)) + 2.0 * Y[:, None]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda a: a.fit(X, np.zeros(40, int)), "two classes or more, got 1 class"),
        (lambda a: a.fit(X[:19], Y[:19]), "at least 20 samples, got 19"),
        (lambda a: a.fit(X, Y + 0.5), "got floats such as 0.5"),
        (lambda a: a.fit(X, np.where(Y, np.nan, 1.0)), "no missing value, got an empty one .NaN, None. for 20"),
        (lambda a: a.fit(X, pd.Series(["a", None] * 20)), "no missing value"),
        (lambda a: a.fit(X, np.arange(40)), "40 different values for 40 samples"),
        (lambda a: a.fit(X, Y[:30]), "one label a sample of `X` \\(40\\), got 30"),
        (lambda a: a.fit(np.ones((40, 3)), Y), "a column that is not constant"),
        (lambda a: a.fit(np.ones((40, 80)), Y), "a column that is not constant"),
        (lambda a: a.fit(np.full((40, 80), np.nan), Y), "NaN or infinity in row 0"),
        (lambda a: a.fit(np.where(X > 0, np.inf, X), Y), "no infinity"),
        (lambda a: a.fit(pd.DataFrame({"x": np.where(Y, np.inf, 1)}), Y), "no infinity, got one in column 'x'"),
        (lambda a: a.fit(X), "requires y to be passed"),
        (lambda a: a.fit([""] * 40, Y), "none that is not empty"),
        (lambda a: a.set_params(folds=0).fit(X, Y), "`folds` must be an integer >= 1"),
        (lambda a: a.set_params(folds=21).fit(X, Y), "at most the size of the largest class \\(20\\)"),
        (lambda a: a.set_params(score="aums").fit(X, Y), "did you mean 'aum'"),
        (lambda a: a.set_params(score="zzz").fit(X, Y), "moving-loss, last-loss, got 'zzz'; choose one of these$"),
        (lambda a: a.set_params(decision=3).fit(X, Y), "one of counted, .*, got 3; choose one of these$"),
        (lambda a: a.fit(X[:, 0], Y), r"got float64 \(40,\)\. Reshape your data: one row a sample, as by X.reshape"),
        (lambda a: a.set_params(model=LogisticRegression).fit(X, Y), "must be a classifier of scikit-learn"),
        (lambda a: a.set_params(random_state=-1).fit(X, Y), "`seed` must be an integer >= 0"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, words):
    with pytest.raises(ln.InputError, match=words) as refusal:
        call(ln.LabelAuditor())
    assert "\n" not in str(refusal.value)


def test_a_model_that_fails_is_named():
    class Fails(LogisticRegression):
        def fit(self, X, y):
            raise RuntimeError("out of\nsorts")

    with pytest.raises(ln.InputError, match="fails: RuntimeError: out of sorts"):
        ln.LabelAuditor(Fails()).fit(X, Y)


def test_what_leaks_or_says_nothing_is_noted():
    frame, true = table(60)
    frame = pd.concat([frame, frame.head(3), frame.head(9)], ignore_index=True).assign(same=1)
    given = np.concatenate([true, true[:2], 1 - true[2:3], true[:8], 1 - true[8:9]])
    given[5] = 2  # a class of one
    notes = " | ".join(ln.LabelAuditor(folds=2).fit(frame, given).notes_)
    assert "repeat another one: 12;" in notes
    named = f"2 ({given[2]}) and 62 ({given[62]}); 5 (2) and 68 ({true[5]}); 8 ({given[8]}) and 71 ({given[71]})"
    assert f"groups of equal samples with different labels: 3, of each label one: {named} |" in notes
    assert "constant columns, which say nothing (1 of 5): same" in notes
    assert "classes of one sample, whose label cannot be checked (1): 2" in notes


def test_labels_of_many_forms():
    for values in (["a", "b"] * 20, [True, False] * 20, [1.0, 2.0] * 20, pd.Categorical(["x", "y"] * 20)):
        assert read_labels("y", values).counts.tolist() == [20, 20]
    with pytest.raises(ln.InputError, match="throughout"):
        read_labels("y", ["a", 1] * 20)


def test_kinds_of_samples():
    kinds = [
        (np.zeros((20, 64)) + np.arange(20)[:, None], "dense"),
        (np.arange(40.0).reshape(20, 2), "table"),
        (np.zeros((20, 4, 4, 3), np.uint8), "image"),
        (["one", "two"] * 10, "text"),
        (pd.Series(["one", None] * 10), "text"),
    ]
    for samples, kind in kinds:
        assert read_material(samples).kind == kind
    assert read_material(np.zeros((20, 4, 4, 3), np.uint8)).samples.shape == (20, 3, 4, 4)
    many = pd.DataFrame({"name": [f"n{i:03}" for i in range(300)] * 2})
    assert read_material(many).samples["name"].dtype == float
