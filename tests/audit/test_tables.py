"""Tables as people have them: identifiers, dates, classes called NA, columns that are no columns."""

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.columns import as_dates
from labelnoise.audit.experiment import AuditRun
from labelnoise.audit.labels import read_labels
from labelnoise.audit.materials import read_material
from labelnoise.audit.recording import training_seed
from labelnoise.audit.sources import read_source
from labelnoise.audit.tables import as_labels, read_label_file, read_labelled
from labelnoise.cli import main
from labelnoise.runs.reading import read_run

N = 40
CLASS = np.arange(N) % 2


def written(name="t.csv", **columns):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=N) + CLASS, "label": CLASS, **columns})
    frame.to_csv(name, index=False)
    return frame


def read(here, ignore=(), text=""):
    return read_labelled(here / "t.csv", "label", text, ignore)


def test_columns_that_number_the_rows_are_left_out_with_a_note(here):
    shuffled = np.random.default_rng(1).permutation(N)
    written(
        row=np.arange(N) + 100, back=-np.arange(N), userId=shuffled, sample_index=shuffled, ID=shuffled,
        **{"Unnamed: 0": shuffled}, idea=shuffled, year=2000 + np.arange(N) // 2, paid=shuffled * 1.5, valid=CLASS,
    )  # fmt: skip
    table = read(here)
    assert list(table.samples) == ["x", "idea", "year", "paid", "valid"]
    note, hint = table.notes
    assert hint.startswith("columns that may name the rows: row, back, userId")
    assert note.endswith("left out: row, back, userId, sample_index, ID, Unnamed: 0") and "whole numbers" in note
    pd.DataFrame({"id": np.arange(N), "label": CLASS}).to_csv("t.csv", index=False)
    with pytest.raises(ln.InputError, match=r"to learn from beside 'label', got none: columns of whole numbers .*: id"):
        read(here)


def test_data_frames_lose_the_same_columns_as_files_with_the_same_note(here):
    frame = written(id=np.arange(N), person=[f"row {at}" for at in range(N)])
    columns, labels = frame.drop(columns="label"), frame["label"]
    auditor = ln.LabelAuditor(folds=2).fit(columns, labels)
    ln.run_experiment(AuditRun(data="t.csv", label="label", folds=2), "out")
    summary = read_run("out").summary
    notes = [note for note in auditor.notes_ if "left out" in note]
    assert [note.split(": ")[1] for note in notes] == ["person", "id"] and set(notes) <= set(summary["notes"])
    assert list(auditor.audit_.material.samples) == ["x"] and auditor.n_features_in_ == 3
    assert list(read_material(columns.head(20)).samples) == ["x"]
    with pytest.raises(ln.InputError, match=r"`X` must have a column that is not .* \(columns of whole .* out: id"):
        read_material(columns[["id"]])


DAYS = pd.Series(pd.date_range("2020-01-01", periods=N, freq="36h"))


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d"])
def test_dates_are_numbers_in_their_order(here, form):
    written(day=DAYS.dt.strftime(form))  # each day another one, and no name
    table = read(here)
    assert list(table.samples) == ["x", "day"] and table.notes == ()
    material = read_material(table.samples)
    values = material.samples["day"].to_numpy()
    assert values.dtype == float and (np.diff(values) >= 0).all() and values[-1] > values[0]
    assert "columns read as dates (1 of 2): day" in material.notes


def test_what_is_a_date():
    def told(*values):
        dates = as_dates(pd.Series(values, dtype=object))
        return None if dates is None else [str(day)[:10] for day in dates[0]]

    assert told("13/02/2020", "01/03/2020", None) == ["2020-02-13", "2020-03-01", "NaT"]  # one value tells for all
    assert told("02/13/2020", "01/03/2020") == ["2020-02-13", "2020-01-03"]
    assert told("01/03/2020") == ["2020-01-03"] and told("1.3.2020") == ["2020-03-01"]
    assert told("2020-01-02T10:00:00+12:00", "2020-01-02") == ["2020-01-01", "2020-01-02"]
    mixed = (["13/02/2020", "02/13/2020"], ["2020-01-02", "1/2/2020"], ["2020-01-02", "never"])
    for words in (*mixed, ["2020-13-45"], ["10-20"], [None, None]):
        assert told(*words) is None
    for other in (pd.Series([20200102, 20200103]), pd.Series(["2020-01-02"] * 3, dtype="category")):
        assert as_dates(other) is None


def test_classes_may_be_called_na(here):
    names = np.array(["NA", "None", "null", "nan"])[np.arange(N) % 4]
    written(label=names, job=np.where(CLASS, "NA", "smith"))
    table = read(here)
    assert table.labels.tolist() == names.tolist()
    assert table.samples["job"].isna().sum() == N // 2  # of another column it is a gap
    assert main("audit t.csv --label label --folds 2 --cleaned --out out".split()) == 0
    assert set(pd.read_csv("out/suspects.csv", keep_default_na=False)["given"]) == set(names)
    names[3] = ""
    written(label=names)
    table = read(here)
    assert list(table.index) == [0, 1, 2, *range(4, N)] and len(table.labels) == len(table.samples) == N - 1
    assert table.notes == ("rows without a label, which are left out: 1 of 40",)
    written(label=CLASS, text=np.where(CLASS, "null", "None"))
    assert set(read(here, text="text").samples["text"]) == {"null", "None"}


@pytest.mark.parametrize("rows", ["", "1,\n2,\n"])
@pytest.mark.parametrize("text", ["", "a"])
def test_a_column_without_a_label_is_refused(here, rows, text):
    (here / "t.csv").write_text(f"a,label\n{rows}")
    with pytest.raises(ln.InputError, match="got 'label' of .*t.csv, which is empty"):
        read(here, text=text)


def test_labels_that_are_numbers_are_ordered_as_numbers_and_keep_their_spelling(here):
    spelt = as_labels(pd.Series(["010", "9", "9.0", "", "10"]))
    assert spelt.tolist()[:3] == ["010", "9", "9"] and spelt.isna().tolist() == [False, False, False, True, False]
    labels = read_labels("y", pd.concat([spelt.drop(3)] * 5))
    assert labels.names == ["9", "010"] and labels.positions.tolist() == [1, 0, 0, 1] * 5
    assert as_labels(pd.Series(["1", "inf"])).tolist() == ["1", "inf"] and as_labels(
        pd.Series(["1", "a"])
    ).tolist() == ["1", "a"]
    np.savetxt("y.txt", np.arange(N) % 12, fmt="%d")
    pd.DataFrame({"id": range(N), "class": np.arange(N) % 12}).to_csv("y.csv", index=False)
    for file, column in (("y.txt", ""), ("y.csv", "class")):  # outputs have a column a class, ascending: 10 after 9
        labels = read_labels("y", read_label_file(here / file, column)[0])
        assert labels.names == [str(k) for k in range(12)] and (labels.positions == np.arange(N) % 12).all()
    pd.DataFrame({"class": np.array(["NA", "b"])[CLASS]}).to_csv("y.csv", index=False)
    assert set(read_label_file(here / "y.csv", "class")[0]) == {"NA", "b"}
    with pytest.raises(ln.InputError, match="`label` must name a column of .*y.csv, got 'clas'; did you mean 'class'"):
        read_label_file(here / "y.csv", "clas")


def test_many_words_count_by_their_order_and_it_is_said():
    words = [f"w{at % 255:03}" for at in range(600)]
    material = read_material(pd.DataFrame({"word": words, "few": words[:254] * 2 + ["w000"] * 92}))
    assert material.samples["word"].dtype == float and material.samples["few"].dtype == "category"
    (note,) = material.notes
    assert note.startswith("columns of more than 254 different words")
    assert "(1 of 2): word ('w000'); if these are numbers" in note


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({1: np.arange(N), "1": CLASS}), "names differ as texts, got 1 and '1'; rename one"),
        (pd.DataFrame({"a": [[1, 2]] * N}), "got a list in column 'a'; make columns of its parts, or leave it out"),
        (pd.DataFrame({"a": [{"b": 1}] * N}), "got a dict in column 'a'"),
    ],
)
def test_columns_that_are_none(frame, words):
    with pytest.raises(ln.InputError, match=words) as refusal:
        ln.LabelAuditor().fit(frame, CLASS)
    assert "\n" not in str(refusal.value)


def test_columns_of_one_name_are_told_apart_as_before():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 2)), columns=["a", "a"])
    assert list(read_material(frame).samples) == ["0", "1"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("images --text a", "`text` says nothing of a folder of images, got 'a'; leave it out"),
        ("images --label a", "`label` says nothing of a folder of images"),
        ("x.npz --ignore a b", "`ignore` says nothing of an .npz file, got 'a b'"),
        ("t.csv --label label --outputs logits", "`outputs` says nothing of a table, got 'logits'"),
        ("t.csv --label label --labels y.npy", "`labels` says nothing of a table"),
        ("x.npy --labels y.npy --label a", "`label` must name a column of a .csv file of labels, got 'a' beside y.npy"),
        ("x.npz --folds 3", "`folds` needs data to train on, got the record of a training"),
        ("one.csv --label label", "got none: columns of one value, which say nothing: x"),
        ("same.csv --label label", "the column 'label' must hold two classes or more, got 1 class, 7"),
        ("images", "the folders of the classes must hold two classes or more"),
    ],
)
def test_a_user_of_files_is_told_of_files(here, capsys, line, words):
    from PIL import Image

    (here / "images/one").mkdir(parents=True)
    for at in range(20):
        Image.fromarray(np.full((4, 4), at, np.uint8)).save(f"images/one/{at}.png")
    written()
    pd.DataFrame({"x": 1, "label": CLASS}).to_csv("one.csv", index=False)
    pd.DataFrame({"x": CLASS, "label": 7}, index=range(N)).to_csv("same.csv", index=False)
    np.savez("x.npz", y=CLASS, logits=np.random.default_rng(0).normal(size=(2, N, 2)))
    np.save("x.npy", np.random.default_rng(0).normal(size=(N, 3)))
    np.save("y.npy", CLASS)
    assert main(["audit", *line.split(), "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and "`y`" not in said and "`X`" not in said
    assert not (here / "out").exists()


@pytest.mark.usefixtures("sketched")
def test_the_page_of_an_audit_has_a_title_of_its_own(here):
    written(z=np.random.default_rng(1).normal(8.0 * CLASS))  # something is decided
    ln.run_experiment(AuditRun(data="t.csv", label="label", folds=2), "out")
    page = ln.write_report("out").read_text()
    assert "<h1>Which labels are probably wrong</h1>" in page and "Signal first" not in page


def test_no_fold_trains_as_a_fold_of_the_next_seed():
    seeds = {training_seed(seed, fold) for seed in range(20) for fold in range(5)}
    assert len(seeds) == 100 and training_seed(3, 1) == training_seed(3, 1)


def test_the_reader_of_a_test_split_says_so_once(here):
    written("people-test.csv")
    assert len(read_source(AuditRun(data="people-test.csv", label="label")).notes) == 1


@pytest.mark.parametrize(
    ("text", "ignore", "words"),
    [("label", (), "`text` must name another column"), ("", ("label",), "`ignore` must name another column"),
     ("colour", ("colour",), "`ignore` must not name the column of texts")],
)  # fmt: skip
def test_a_column_has_one_part(tmp_path, text, ignore, words):
    file = tmp_path / "a.csv"
    file.write_text("label,colour,size\n" + "a,red,1\nb,blue,2\n" * 20)
    with pytest.raises(ln.InputError, match=words):
        read_labelled(file, "label", text, ignore)


@pytest.mark.parametrize("row", ["{},a,red,1", "a,red,1,"])
def test_rows_of_more_values_than_names_are_refused(tmp_path, row):
    file = tmp_path / "a.csv"
    file.write_text("label,colour,size\n" + "\n".join(row.format(k) for k in range(40)))
    with pytest.raises(ln.InputError, match="its rows hold 4 values, its first line 3 names"):
        read_labelled(file, "label", "", ())
