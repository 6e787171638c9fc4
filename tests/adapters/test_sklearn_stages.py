"""Classifiers of scikit-learn as training loops: what is recorded is what each stage, or each pass, says."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from helpers import assert_close
from labelnoise.adapters.sklearn import record_passes, record_stages
from labelnoise.errors import InputError

STAGED = {
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=6, random_state=0, early_stopping=False),
    "gradient": lambda: GradientBoostingClassifier(n_estimators=6, random_state=0),
    "ada": lambda: AdaBoostClassifier(n_estimators=6, random_state=0),
}


def table(n_classes=3, n=150, seed=0):
    X, y = make_classification(n, 8, n_informative=6, n_classes=n_classes, random_state=seed)
    return X, y


def held(n):
    return np.arange(n) % 5 == 1


def expected(probabilities, labels):
    """Margin and loss by a loop."""
    logs = np.log(probabilities)
    margin = [row[label] - np.delete(row, label).max() for row, label in zip(logs, labels, strict=True)]
    return np.array(margin), -logs[np.arange(len(labels)), labels]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", STAGED)
def test_stages_are_epochs(name, n_classes):
    X, y = table(n_classes)
    out = held(len(y))
    model = STAGED[name]()
    recorder = record_stages(model, X, y, held_out=out)
    assert (recorder.epochs, recorder.n_samples, recorder.n_classes) == (6, len(y), n_classes)
    alone = STAGED[name]().fit(X[~out], y[~out])
    for epoch, probabilities in enumerate(alone.staged_predict_proba(X)):
        margin, loss = expected(probabilities, y)
        assert_close(recorder.margin[epoch], margin.astype(np.float32), rtol=1e-4, atol=1e-5)
        assert_close(recorder.loss[epoch], loss.astype(np.float32), rtol=1e-4, atol=1e-5)
        surely = np.sort(probabilities)[:, -1] - np.sort(probabilities)[:, -2] > 1e-6
        assert (recorder.prediction[epoch] == probabilities.argmax(1))[surely].all() and surely.any()
    assert_close(recorder.given, y)
    assert_close(model.predict_proba(X), alone.predict_proba(X))  # the model itself is fitted


def test_held_out_samples_are_not_trained_on():
    X, y = table()
    out = held(len(y))
    wrong = np.where(out, (y + 1) % 3, y)  # labels of held-out samples alone
    one, other = (record_stages(STAGED["histogram"](), X, labels, held_out=out) for labels in (y, wrong))
    np.testing.assert_array_equal(one.margin[:, ~out], other.margin[:, ~out])
    assert (one.margin[:, out] != other.margin[:, out]).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_passes_of_a_network_are_epochs(n_classes):
    X, y = table(n_classes)
    out = held(len(y))
    recorder = record_passes(MLPClassifier((5,), random_state=0), X, y, 3, held_out=out)
    alone = MLPClassifier((5,), random_state=0)
    for epoch in range(3):
        alone.partial_fit(X[~out], y[~out], classes=np.unique(y))
        margin, loss = expected(alone.predict_proba(X), y)
        assert_close(recorder.margin[epoch], margin.astype(np.float32), rtol=1e-4, atol=1e-5)
        assert_close(recorder.loss[epoch], loss.astype(np.float32), rtol=1e-4, atol=1e-5)
    assert recorder.epochs == 3


@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_passes_of_a_linear_model_with_and_without_probabilities(loss, n_classes):
    X, y = table(n_classes)
    X = X / 10  # no saturated probabilities: those of two classes may tie
    words = np.array(["b", "a", "c"])[y]
    model = SGDClassifier(loss=loss, random_state=0)
    recorder = record_passes(model, sparse.csr_matrix(X), words, 2)
    predicted = np.array(["a", "b", "c"])[recorder.prediction[-1]]
    assert (predicted == model.predict(X)).all() and len(set(predicted)) == n_classes
    if loss == "hinge" and n_classes == 3:
        decision = model.decision_function(X)
        rows, given = np.arange(len(y)), np.searchsorted(["a", "b", "c"], words)
        others = decision.copy()
        others[rows, given] = -np.inf
        assert_close(recorder.margin[1], (decision[rows, given] - others.max(1)).astype(np.float32), rtol=1e-4)


@pytest.mark.parametrize("form", ["coo", "bsr", "lil"])
def test_a_sparse_matrix_may_be_of_any_form(form):
    X, y = table()
    X[X < 0] = 0
    for record in (lambda rows: record_passes(SGDClassifier(random_state=0), rows, y, 2, held_out=held(len(y))),
                   lambda rows: record_stages(STAGED["gradient"](), rows, y, held_out=held(len(y)))):  # fmt: skip
        whole = record(sparse.csr_matrix(X)).margin
        for matrix in (sparse.csr_matrix(X), sparse.csr_array(X)):
            assert_close(record(matrix.asformat(form)).margin[:], whole[:])


@pytest.mark.parametrize("values", [[7, 8, 9], [True, False, True], ["a", "b", "c"], [0.0, 1.0, 2.0]])
def test_labels_may_be_objects(values):
    X, y = table()
    labels = pd.Series([values[at] for at in y], dtype=object)
    for recorder in (record_stages(STAGED["histogram"](), X, labels), record_passes(SGDClassifier(), X, labels, 2)):
        assert recorder.given.tolist() == np.unique(np.array(values)[y], return_inverse=True)[1].tolist()


def test_large_data_are_predicted_in_parts(monkeypatch):
    X, y = table()
    whole = record_passes(SGDClassifier(loss="log_loss", random_state=0), X, y, 2)
    monkeypatch.setattr("labelnoise.adapters.sklearn.CHUNK", 3 * 7)
    parts = record_passes(SGDClassifier(loss="log_loss", random_state=0), X, y, 2)
    assert_close(parts.margin[1], whole.margin[1], rtol=1e-5)


@pytest.mark.parametrize("passes", [False, True])
def test_pipelines_are_fitted_without_the_held_out_samples(passes):
    X, y = table(2)
    frame = pd.DataFrame(X, index=np.arange(len(y))[::-1]).rename(columns=str)  # rows are told by their place
    frame["kind"] = np.where(X[:, 0] > 0, "high", "low")
    out = held(len(y))
    frame.loc[out, "0"] += 1000  # moves the mean of the scaler where it sees them
    columns = make_column_transformer((OneHotEncoder(), ["kind"]), (StandardScaler(), ["0", "1"]))
    pipeline = make_pipeline(
        columns, SGDClassifier(loss="log_loss", random_state=0) if passes else STAGED["gradient"]()
    )
    recorder = (record_passes if passes else record_stages)(pipeline, frame, y, *[2][:passes], held_out=out)
    assert abs(pipeline[0].transformers_[1][1].mean_[0]) < 10
    assert (recorder.prediction[-1] == pipeline.predict(frame)).all()


def test_a_pipeline_of_the_classifier_alone_is_the_classifier():
    X, y = table(2)
    alone, wrapped = (SGDClassifier(loss="log_loss", random_state=0) for _ in range(2))
    one, other = record_passes(alone, X, y, 2), record_passes(make_pipeline(wrapped), X, y, 2)
    assert np.array_equal(one.margin, other.margin)


def test_a_class_that_is_only_held_out_has_the_least_probability():
    X, y = table(3)
    recorder = record_stages(STAGED["histogram"](), X, y, held_out=y == 2)
    assert recorder.n_classes == 3 and (recorder.prediction[:] != 2).all()
    assert np.isfinite(recorder.margin[:]).all() and (recorder.margin[-1][y == 2] < -50).all()


X, Y = table(2, 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": GaussianNB()}, "`model` must be a classifier with `staged_predict_proba`, got GaussianNB"),
        ({"model": HistGradientBoostingClassifier}, "`model` must be a classifier with `staged_predict_proba`"),
        ({"model": None}, "`model` must be a classifier"),
        ({"X": X[:-1]}, r"`y` must have a label for each row of X \(19\), got int64 \(20,\)"),
        ({"X": 3}, r"`y` must have a label for each row of X \(None\)"),
        ({"y": Y[:, None]}, r"`y` must have a label for each row of X \(20\), got int64 \(20, 1\)"),
        ({"y": Y + 0.5}, "`y` must hold classes, got floats"),
        ({"y": np.where(Y, np.nan, 1.0)}, r"`y` must have no missing value, got an empty one \(NaN, None\) for \d+ of"),
        ({"y": np.where(Y, np.inf, 1.0)}, "`y` must hold classes, got floats such as inf"),
        ({"y": np.where(Y, None, "a")}, "`y` must have no missing value"),
        ({"y": np.array([1, "a"] * 10, dtype=object)}, "`y` must hold texts or integers throughout"),
        ({"y": np.zeros(20, int)}, "`y` must hold two classes to train on"),
        ({"held_out": Y == 1}, "`y` must hold two classes to train on"),
        ({"held_out": Y[:-1] == 1}, r"`held_out` must hold a truth value a sample \(20\), got shape \(19,\)"),
        ({"held_out": 0.1}, "`held_out` must be a mask of truth values"),
    ],
)
def test_what_cannot_be_recorded_is_refused(change, message):
    arguments = {"model": STAGED["histogram"](), "X": X, "y": Y, **change}
    with pytest.raises(InputError, match=message):
        record_stages(**arguments)


def test_passes_are_counted():
    with pytest.raises(InputError, match="`passes` must be an integer >= 1, got 0"):
        record_passes(SGDClassifier(), X, Y, 0)
    with pytest.raises(InputError, match="`model` must be a classifier with `partial_fit`, .*; use record_stages"):
        record_passes(STAGED["histogram"](), X, Y, 2)
