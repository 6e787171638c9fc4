"""Outputs whose columns stand in another order than the classes, and outputs that only look so."""

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.experiment import AuditRun
from labelnoise.audit.labels import read_labels
from labelnoise.audit.outputs import order_doubt
from labelnoise.audit.page_words import HELD
from labelnoise.cli import main
from labelnoise.runs.reading import read_run
from test_auditor import flipped

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six"])


def outputs(true, n_classes, sure=0.8, seed=0):
    """Probabilities (n, K) of a model that is right in most cases, a column a class."""
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(n_classes), true.size) * (1 - sure)
    chances[np.arange(true.size), true] += sure
    return chances


def audit(values, labels):
    np.save("p.npy", values)
    pd.DataFrame({"class": labels}).to_csv("y.csv", index=False)
    ln.run_experiment(AuditRun(data="p.npy", labels="y.csv", outputs="probabilities"), "out", overwrite=True)
    return read_run("out").summary


def test_columns_by_first_appearance_are_told_and_named_as_the_likely_cause(here):
    true = np.r_[np.arange(7), np.random.default_rng(0).integers(7, size=693)]  # zero, one, ... come first
    given = np.r_[true[:7], flipped(true)[7:]]
    summary = audit(outputs(true, 7), NAMES[given])
    first, second, *_ = summary["notes"]
    assert first.startswith("the columns of the outputs seem to stand in another order than the classes: taken for")
    assert "'zero', 'one', 'two', 'three', 'four', ... (by their first appearance among the labels) they fit" in first
    assert "in ascending order of the labels, 'five', 'four', 'one', 'six', 'three', ...: bring" in first
    assert second.startswith("nothing can be decided: ") and summary["rate"] is None
    assert second.endswith(
        "; likelier here: the columns of the outputs seem to stand in another order than the classes"
    )
    assert summary["text"].endswith("the notes say why.")
    ascending = np.argsort(NAMES)
    summary = audit(outputs(true, 7)[:, ascending], NAMES[given])
    assert not any("order" in note for note in summary["notes"]) and summary["rate"] == pytest.approx(0.15, abs=0.05)


def test_two_columns_that_changed_places_are_told_where_much_is_decided(here):
    true = np.random.default_rng(0).integers(7, size=700)
    values = outputs(true, 7)[:, [0, 1, 2, 4, 3, 5, 6]]
    summary = audit(values, np.char.add("c", true.astype(str)))
    assert summary["rate"] > 0.2  # nothing is wrong, and much looks so
    said = " Note that the columns of the outputs seem to stand in another order than the classes; see the notes."
    assert summary["text"].endswith(f"; flagged as suspects: {summary['flagged']}.{said}")
    assert (
        "taken for 'c0', 'c1', 'c2', 'c4', 'c3', ... they fit 100.0% of the labels, and 0.0% as given"
        in (summary["notes"][0])
    )


def test_epochs_of_an_npz_file_are_looked_at_as_well(here):
    true = np.random.default_rng(0).integers(3, size=200)
    logits = np.log(outputs(true, 3))[None].repeat(4, axis=0)[:, :, [1, 2, 0]]
    np.savez("x.npz", logits=logits, labels=true, held_out=np.arange(200) % 4 == 0)
    assert main("audit x.npz --out out".split()) == 0
    note = read_run("out").summary["notes"][0]
    assert "taken for '1', '2', '0' they fit 100.0% of the labels" in note


def doubt(prediction, labels):
    return order_doubt(np.atleast_2d(prediction), read_labels("y", labels))


def test_orders_have_names():
    labels = as_numbers = np.repeat(np.arange(12), 20)
    order = np.array(sorted(range(12), key=str))  # 0, 1, 10, 11, 2, ...
    assert "'0', '1', '10', '11', '2', ... (as texts, alphabetical)" in doubt(np.argsort(order)[as_numbers], labels)
    words = np.array(["b", "C", "a"])[np.repeat([0, 1, 2], [30, 20, 10])]  # ascending: C, a, b
    for order, name in (
        ([1, 2, 0], "alphabetical, small letters as capital ones"), ([2, 0, 1], "by their first appearance"),
        ([2, 1, 0], "descending"), ([1, 0, 2], ""),
    ):  # fmt: skip
        said = doubt(np.argsort(order)[read_labels("y", words).positions], words)
        assert (f"({name}" in said if name else ") they" not in said) and " they fit 100.0%" in said, order


def test_outputs_that_err_are_not_taken_for_another_order():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    for share, said in ((0.05, False), (0.4, False), (0.55, False), (0.8, True)):  # of labels that are not predicted
        assert bool(doubt(np.where(rng.random(400) < share, 1 - labels, labels), labels)) == said, share
    for _ in range(20):
        few = rng.permutation(np.arange(30) % 3)
        assert not doubt(rng.integers(3, size=30), few)  # chance
    assert not doubt(np.zeros(400, int), (np.arange(400) % 10 > 0).astype(int))  # one column alone is ever largest
    unseen = np.where(np.arange(400) < 300, -1, 1 - labels)
    assert "fit 100.0% of the labels" in doubt(unseen, labels)


def test_how_often_the_interval_holds_the_truth_is_what_is_measured():
    import re
    from pathlib import Path

    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "detection.md").read_text()
    folds = re.findall(r"^\| \w+ \| all \| 72 \| with \| (\S+) ", text, re.MULTILINE)
    single = re.search(r"holds the true rate in (\S+) of the choosing and (\S+) of the reporting", text).groups()
    low, *_, high = (f"{100 * float(share):.0f}" for share in sorted(map(float, (*folds, *single))))
    assert f"{low} to {high}% of audits" in HELD and f"{low} to {high}% of audits" in (docs / "audit.md").read_text()
