"""The record of a loop of one's own, saved, as data of an audit; and a record that diverged."""

import re

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.experiment import AuditRun
from labelnoise.cli import main
from made_records import two_stages


def held_out_record(epochs=12, lost=0, n_classes=3, rate=0.2):
    """A record whose recorder knows its held-out samples, and whose last epochs are no numbers."""
    plain, _, outside = two_stages(400, n_classes, rate, epochs)
    recorder, state = ln.Recorder(400, n_classes, held_out=outside), plain.state_dict()
    state["held_out"] = outside
    for name, value in (("margin", np.nan), ("loss", np.nan), ("prediction", -1)):
        state[name][epochs - lost :] = value
    recorder.load_state_dict(state)
    return recorder


def test_a_saved_recorder_is_audited_to_the_page_as_suspects_judges_it(tmp_path, monkeypatch, capsys, sketched):
    monkeypatch.chdir(tmp_path)
    recorder, names = held_out_record(), ["cat", "dog", "cow"]
    recorder.save("mine.npz", class_names=names)
    assert main("audit mine.npz --out mine".split()) == 0
    assert main("report mine".split()) == 0
    assert "labels are wrong" in capsys.readouterr().out
    expected, found = ln.suspects(recorder), pd.read_csv("mine/suspects.csv")
    for column in ("index", "flagged"):
        assert found[column].tolist() == expected[column].tolist()
    assert found["given"].tolist() == [names[k] for k in expected["given"]]
    page = re.sub(r"\s+", " ", (tmp_path / "mine/report.html").read_text())
    assert "a network of your own, whose record is mine.npz" in page and ">cow<" in page
    assert ln.run_experiment(AuditRun(data="mine.npz"), "mine").reused
    recorder.save("mine.npz")  # without the names
    with pytest.raises(ln.InputError, match="mine"):
        ln.run_experiment(AuditRun(data="mine.npz"), "mine")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--label given", "`label` says nothing of a saved recorder, got 'given'; leave it out"),
        ("--folds 3", "`folds` needs data to train on, got the record of a training"),
    ],
)
def test_settings_that_say_nothing_of_a_record_are_refused(tmp_path, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(tmp_path)
    held_out_record().save("mine.npz")
    assert main(f"audit mine.npz {flags} --out out".split()) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def sums_of(recorder):
    """The same training as running sums alone."""
    sums = ln.Recorder(400, 3, held_out=recorder.held_out, history=False)
    sums.load_state_dict(recorder.state_dict())
    return sums


def test_a_record_of_sums_is_audited_as_suspects_judges_it_and_says_what_is_not_there(
    tmp_path, monkeypatch, capsys, sketched
):
    monkeypatch.chdir(tmp_path)
    recorder = sums_of(held_out_record(rate=0.1))
    recorder.save("mine.npz")
    assert main("audit mine.npz --out mine".split()) == 0 and main("report mine".split()) == 0
    assert "labels are wrong" in capsys.readouterr().out
    expected, found = ln.suspects(recorder), pd.read_csv("mine/suspects.csv")
    assert found["index"].tolist() == expected["index"].tolist() and found["flagged"].sum() > 20
    stop = recorder.sums.stop + 1
    assert stop > 1 and ln.read_run("mine").summary["stop_epochs"] == [expected.attrs["stop"]] == [stop]
    assert pd.read_csv("mine/history.csv").empty
    page = re.sub(r"\s+", " ", (tmp_path / "mine/report.html").read_text())
    assert "no margins along training, and the score is “given-probability”, which ranks worse" in page
    assert "Suspects along training" not in page and f'<dd class="value">epoch {stop}</dd>' in page


def test_a_record_of_sums_without_held_out_samples_has_no_stop(tmp_path, monkeypatch, capsys, sketched):
    monkeypatch.chdir(tmp_path)
    recorder, _, _ = two_stages(400, 3, epochs=12)
    sums_of(recorder).save("mine\udcff.npz")  # a byte that is no UTF-8
    assert main("audit mine\udcff.npz --out mine".split()) == 0 and main("report mine".split()) == 0
    assert r"whose record is mine\xff.npz" in (tmp_path / "mine/report.html").read_text()
    assert "how many are is not estimated" in capsys.readouterr().out
    notes = " ".join(ln.read_run("mine").summary["notes"])
    assert "no margins along training; record with history=True" in notes  # share-rejected is the default then
    assert ln.read_run("mine").summary["stop_epochs"] == []


def test_a_score_of_sums_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sums_of(held_out_record()).save("mine.npz")
    assert main("audit mine.npz --score aum --out out".split()) == 2
    assert "`score` needs a history, got 'aum' for a recorder of running sums; make it with" in capsys.readouterr().err


def test_a_record_that_diverged_says_so_and_names_the_epoch_that_it_compares_with():
    whole, cut = ln.suspects(held_out_record()).attrs, ln.suspects(held_out_record(lost=3)).attrs
    assert re.search(r"\(\d\.\d+, \d\.\d+ at the end\)$", whole["reason"])
    assert re.search(r" of 12, where .* at epoch 9, the last that is finite\)$", cut["reason"])
    words = "in the last 3 of 12 epochs no sample has an output that is a number, as where a training diverges"
    assert words in " ".join(cut["notes"]) and "no sample has an output" not in " ".join(whole["notes"])


def test_outputs_with_gaps_are_taken_for_samples_that_were_not_seen(tmp_path, monkeypatch):
    """As they are meant there: without a warning, which would be an error here."""
    monkeypatch.chdir(tmp_path)
    recorder = held_out_record()
    logits = np.eye(3)[recorder.prediction[:]] * 3.0
    logits[::2], logits[1, :7] = np.nan, np.nan
    np.savez("x.npz", logits=logits, labels=recorder.given, held_out=recorder.held_out)
    assert ln.run_experiment(AuditRun(data="x.npz"), "out").status == "ok"
