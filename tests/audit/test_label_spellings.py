"""Classes that differ only in how they are spelt: named, never merged, and told apart where they are shown."""

import re

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.experiment import AuditRun
from labelnoise.audit.labels import read_labels, shown, spelling_notes
from labelnoise.cli import main
from labelnoise.runs.reading import read_run

N = 120


def told(*names):
    return spelling_notes(read_labels("y", np.array(names)[np.arange(N) % len(names)]))


def test_classes_that_differ_only_in_spaces_or_case_are_named():
    assert told("gold", "silver", "golden") == []
    (note,) = told("gold ", "gold", "Gold", "tin  can", "tin can", "lead")
    assert (
        "as different ones: 'Gold' (20) and 'gold' (20) and 'gold ' (20); 'tin  can' (20) and 'tin can' (20); " in note
    )
    assert "spell them alike in the data and audit again" in note and "lead" not in note
    (note,) = told(*(f"{name}{end}" for name in "abcdef" for end in (" ", "")))
    assert note.count(" and ") == 5 + 1 and "'e ' (10); ...; where" in note


def test_names_whose_spaces_would_not_be_seen_are_shown_in_quotes():
    assert [shown(name) for name in ("a b", "a ", "\ta", "a  b", "'a'")] == ["a b", "'a '", "'\\ta'", "'a  b'", "'a'"]


@pytest.mark.usefixtures("sketched")
def test_the_note_comes_first_and_the_page_tells_the_spellings_apart(here, capsys):
    rng, true = np.random.default_rng(0), np.arange(N) % 2
    labels = np.array(["gold", "tin"])[true].astype(object)
    labels[:20] = np.where(labels[:20] == "gold", "gold ", labels[:20])
    frame = pd.DataFrame({"x": rng.normal(8.0 * true), "z": rng.normal(8.0 * true), "label": labels})
    frame.to_csv("t.csv", index=False)
    ln.run_experiment(AuditRun(data="t.csv", label="label", folds=2), "out")
    summary, suspects = read_run("out").summary, pd.read_csv("out/suspects.csv")
    assert summary["notes"][0].startswith("classes that differ only in spaces or case count as different ones: 'gold'")
    assert summary["classes"] == ["gold", "gold ", "tin"] and set(suspects["given"]) == {"gold", "gold ", "tin"}
    said = "Note that classes that differ only in spaces or case count as different ones: 'gold' ("
    assert said in summary["text"] and summary["text"].endswith("; see the notes.")
    assert main("audit t.csv --label label --folds 2 --out out".split()) == 0
    told = capsys.readouterr().out.splitlines()
    assert said in told[1] and told[2] == f"note: {summary['notes'][0]}"  # the first line: the run is reused
    page = ln.write_report("out").read_text()
    names = re.findall(r'<span class="name">(.*?)</span>', page)
    assert "&#39;gold &#39;" in names and "gold " not in names and "gold" in names
    assert "<th>&#39;gold &#39;</th>" in page and "(&#39;gold &#39;)" in page  # of the matrix, of a neighbour
    auditor = ln.LabelAuditor(folds=2).fit(frame[["x", "z"]], labels)
    assert auditor.notes_[0] == summary["notes"][0] and list(auditor.classes_) == ["gold", "gold ", "tin"]


def test_of_given_outputs_as_well(here):
    true = np.arange(N) % 3
    chances = np.full((N, 3), 0.1)
    chances[np.arange(N), true] = 0.8
    np.savez("x.npz", probabilities=chances, labels=np.array(["Gold", "gold", "tin"])[true])
    ln.run_experiment(AuditRun(data="x.npz"), "out")
    assert "'Gold' (40) and 'gold' (40); where" in read_run("out").summary["notes"][0]
