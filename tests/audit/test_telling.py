"""Columns that alone tell the given labels: copies, codes, numbers that lie apart, and what is none of these."""

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.labels import read_labels
from labelnoise.audit.materials import read_material
from labelnoise.audit.telling import telling_notes

N = 600
RNG = np.random.default_rng(0)
TRUE = RNG.integers(3, size=N)
GIVEN = np.where(RNG.random(N) < 0.2, (TRUE + 1) % 3, TRUE)
PLAIN = {"x": TRUE + RNG.normal(size=N), "z": RNG.normal(size=N)}


def told(given=GIVEN, **columns):
    return telling_notes(read_material(pd.DataFrame({**PLAIN, **columns})), read_labels("y", given), 0)


@pytest.mark.parametrize(
    "column",
    [
        GIVEN,
        np.array(["no", "maybe", "yes"])[GIVEN],
        np.array([7.0, -1.0, 3.0])[GIVEN] + RNG.random(N),  # apart, though no value repeats
        np.where(GIVEN == 1, np.nan, GIVEN),
        np.where(np.arange(N) % 150 == 0, 0, GIVEN),  # nearly all
    ],
    ids=["code", "words", "apart", "gaps", "nearly"],
)
def test_a_column_made_from_the_label_is_named(column):
    (note,) = told(leak=column)
    assert "columns that alone tell nearly every given label (leak " in note and "(--ignore leak; in Python" in note


def test_other_columns_are_not_named():
    """The true class agrees with four given labels of five; names of one row each tell none of the unseen ones."""
    assert (
        told(truth=TRUE, user=[f"user {at // 2}" for at in range(N)], ninth=np.where(RNG.random(N) < 0.1, 2, GIVEN))
        == []
    )
    rare = np.arange(N) % 75 == 0  # 99% of the labels are one class: to say it always is no knowledge
    assert told(rare.astype(int), half=rare & (np.arange(N) % 150 == 0)) == []
    many = read_labels("y", np.arange(100) % 12)  # a rule of 48 leaves learns its own 50 samples by heart
    assert telling_notes(read_material(pd.DataFrame({"x": RNG.normal(size=100)})), many, 0) == []
    few = slice(0, 40)
    leak = read_material(pd.DataFrame({"leak": GIVEN[few], "x": PLAIN["x"][few]}))
    assert telling_notes(leak, read_labels("y", GIVEN[few]), 0) == []


def test_the_note_comes_first_for_frames_arrays_and_vectors():
    wrong = GIVEN != TRUE
    for samples, name in (
        (pd.DataFrame(PLAIN).assign(copy=GIVEN), "copy"),
        (np.column_stack([*PLAIN.values(), GIVEN]), "2"),
        (np.column_stack([RNG.normal(size=(N, 70)), GIVEN]), "70"),
    ):
        auditor = ln.LabelAuditor(folds=2).fit(samples, GIVEN)
        assert f"label ({name} " in auditor.notes_[0], name
    clean = ln.LabelAuditor(folds=2).fit(pd.DataFrame(PLAIN), GIVEN)
    assert not any("alone tell" in note for note in clean.notes_) and wrong.any()
