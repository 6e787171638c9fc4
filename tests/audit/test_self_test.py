"""Planted flips: which labels are flipped, and what is said of how many were found."""

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from helpers import contents
from labelnoise.audit.experiment import AuditRun
from labelnoise.audit.judging import judge
from labelnoise.audit.labels import GivenLabels
from labelnoise.audit.recorded import read_training
from labelnoise.audit.self_test import compare_verdicts, plant_flips
from labelnoise.cli import main
from labelnoise.runs.reading import read_run
from made_records import two_stages
from test_auditor import flipped, table


def given_labels(*counts):
    positions = np.repeat(np.arange(len(counts)), counts)
    return GivenLabels(np.arange(len(counts)), positions)


def test_a_twentieth_of_what_nobody_suspects_is_flipped_and_no_class_vanishes():
    labels, suspects = given_labels(600, 390, 9, 1), np.arange(1000) % 2 == 0
    moved = []
    for seed in range(30):
        planted = plant_flips(labels, suspects, seed)
        at = planted.positions != labels.positions
        assert at.sum() == 50 and not (at & suspects).any() and (planted.counts > 0).all()
        assert planted.positions.min() == 0 and planted.positions.max() == 3
        moved.append(planted.positions[at])
    assert len({tuple(each) for each in moved}) == 30
    assert (plant_flips(labels, suspects, 4).positions == plant_flips(labels, suspects, 4).positions).all()
    pairs = given_labels(*[2] * 10)  # of each class one stays
    planted = plant_flips(pairs, np.zeros(20, bool), 0)
    assert (planted.positions != pairs.positions).sum() == 1 and (planted.counts > 0).all()


def test_recall_and_average_precision_by_hand():
    """Of four planted flips three are flagged; two samples that were suspected before do not count as false ones."""
    recorder, _, held_out = two_stages(n=100)
    verdict = judge([read_training(recorder, held_out)])

    def made(score, flagged):
        values = {"score": np.array(score, float), "flagged": np.array(flagged, bool)}
        return type(verdict)(**{**vars(verdict), **values})

    first = made([0] * 8, [1, 1, 0, 0, 0, 0, 0, 0])
    second = made([9, 8, 7, 6, 5, 4, 3, 2], [1, 1, 1, 0, 1, 1, 0, 0])
    planted = np.array([0, 0, 1, 0, 1, 1, 1, 0], bool)
    test = compare_verdicts(first, second, planted)
    assert (test.planted, test.flagged, test.recall) == (4, 3, 0.75)
    assert test.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 5) / 4)
    assert "4 labels flipped on purpose 3 (75%) flagged" in f"{test}" and "optimistic bound" in f"{test}"
    nothing = compare_verdicts(first, made([np.nan] * 8, [0] * 8), planted)
    assert nothing.planted == 0 and np.isnan(nothing.recall) and "no label could be flipped" in f"{nothing}"


def test_an_auditor_tests_itself_and_judges_as_without():
    frame, true = table(200)
    given = flipped(true)
    told = []
    auditor = ln.LabelAuditor(folds=2, self_test=True).fit(frame, given)
    plain = ln.LabelAuditor(folds=2).fit(frame, given)
    pd.testing.assert_frame_equal(auditor.suspects_, plain.suspects_)
    test = auditor.self_test_
    assert plain.self_test_ is None and test.planted == 10 and test.recall == test.flagged / 10 >= 0.8
    assert test.average_precision > 0.8
    from labelnoise.audit.auditor import audit_samples

    audit = audit_samples(frame, given, folds=1, self_test=True, progress=lambda *at: told.append(at))
    assert told == [(1, 2, "training 1 of 1"), (2, 2, "self-test 1 of 1")] and audit.self_test.planted == 10


@pytest.mark.usefixtures("sketched")
def test_the_command_and_the_page_say_what_was_planted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame, true = table(200)
    frame.assign(label=flipped(true)).to_csv("people.csv", index=False)
    assert main("audit people.csv --label label --folds 1 --self-test --out out".split()) == 0
    test = read_run("out").summary["self_test"]
    assert test["planted"] == 10 and test["text"] in capsys.readouterr().out
    page = ln.write_report("out").read_text()
    assert "Planted flips found" in page and page.count("an optimistic bound") == 2
    assert f">of 10 labels flipped on purpose {test['flagged']} (" in page
    assert not any(name.startswith("trainings") for name in contents("out"))
    assert main("audit people.csv --label label --folds 1 --out plain".split()) == 0
    assert "self_test" not in read_run("plain").summary and "Planted" not in ln.write_report("plain").read_text()


def test_what_was_not_trained_cannot_test_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("epochs.npz", logits=np.eye(2)[np.arange(40) % 2][None] * 2.0, labels=np.arange(40) % 2)
    with pytest.raises(ln.InputError, match="`self_test` needs data to train on, got the record"):
        ln.run_experiment(AuditRun(data="epochs.npz", self_test=True), "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ln.InputError, match="`self_test` must be True or False, got 3"):
        ln.LabelAuditor(self_test=3).fit(np.eye(40)[:, :3], np.arange(40) % 2)
