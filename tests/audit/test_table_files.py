"""How files write tables: what separates values, decimal commas, first lines that are no names."""

import gzip

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.table_files import Spelling, read_frame, read_spelt, spelling_of
from labelnoise.audit.tables import read_label_file, read_labelled
from labelnoise.cli import main

N = 40
CLASS = np.array(["no", "yes"])[np.arange(N) % 2]
FRAME = pd.DataFrame({"size": np.arange(N) / 8 + 0.0625, "text": ["a, b", "c; d"] * (N // 2), "label": CLASS})


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_other_marks_are_seen_and_told(here, mark, decimal):
    FRAME.to_csv("t.csv", sep=mark, decimal=decimal, index=False)
    assert spelling_of(here / "t.csv") == Spelling(mark, decimal)
    table = read_labelled(here / "t.csv", "label", "", ())
    pd.testing.assert_frame_equal(table.samples, FRAME.drop(columns="label"))
    assert f"separated by {mark!r}{', with decimal commas' * (decimal == ',')}" in table.notes[0]
    (here / "t.csv.gz").write_bytes(gzip.compress((here / "t.csv").read_bytes()))
    assert read_frame(here / "t.csv.gz")["size"].tolist() == FRAME["size"].tolist()
    assert read_spelt(here / "t.csv")["size"][0] == f"0{decimal}0625"


def test_commas_stay_the_rule(here):
    for text in ("a,b;c\n1,2;3\n4,5;6\n", "a\n1;2\n3;4\n", "a;b\n1;2\n3\n", "a;b\n"):
        (here / "t.csv").write_text(text)
        expected = Spelling(";") if text == "a;b\n" else Spelling()
        assert spelling_of(here / "t.csv") == expected, text
    FRAME.to_csv("t.csv", index=False)
    assert spelling_of(here / "t.csv") == Spelling() and read_labelled(here / "t.csv", "label", "", ()).notes == ()
    (here / "t.tsv").write_text("a,b\tlabel\n1\t2\n")
    assert spelling_of(here / "t.tsv") == Spelling("\t")


def test_files_of_labels_and_cleaned_ones_know_the_marks(here):
    FRAME.to_csv("l.csv", sep=";", index=False)
    assert read_label_file(here / "l.csv", "label")[0].tolist() == CLASS.tolist()
    rng = np.random.default_rng(0)
    flips = np.where(np.arange(N) < 4, CLASS[::-1], CLASS)
    frame = pd.DataFrame({"x": rng.normal(5.0 * (CLASS == "yes")), "label": flips})
    frame.to_csv("t.csv", sep=";", decimal=",", index=False)
    assert main("audit t.csv --label label --cleaned --folds 2 --out out".split()) == 0
    cleaned = pd.read_csv("out/cleaned.csv", dtype=str)
    assert list(cleaned) == ["x", "label"] and "," in cleaned["x"][0]


def test_a_first_line_of_values_is_told(here, capsys):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age": rng.integers(20, 30, N), "job": CLASS, "x": rng.normal(size=N), "label": CLASS})
    rows.to_csv("t.csv", index=False, header=False)
    hint = f"its first line looks like values ({rows['age'][0]}, no, "
    for line in ("audit t.csv", "audit t.csv --label label"):
        assert main([*line.split(), "--out", "out"]) == 2
        assert hint in capsys.readouterr().err
    name = read_frame(here / "t.csv").columns[-1]  # pandas tells the second `no` from the first
    assert hint in read_labelled(here / "t.csv", name, "", ()).notes[0]
    rows.to_csv("t.csv", index=False)
    with pytest.raises(ln.InputError) as refusal:
        read_labelled(here / "t.csv", "lable", "", ())
    assert "looks like values" not in f"{refusal.value}"
    pd.DataFrame({"a": CLASS, "b": CLASS, "c": CLASS}).to_csv("t.csv", index=False, header=False)
    assert "looks like values (no, no.1, no.2)" in read_labelled(here / "t.csv", "no", "", ()).notes[0]
    pixels = pd.DataFrame(rng.integers(0, 17, (N, 64))).assign(label=CLASS)  # names 0 to 63 are names
    pixels.to_csv("t.csv", index=False)
    assert not any("values" in note for note in read_labelled(here / "t.csv", "label", "", ()).notes)
