"""What a column of a table is to an audit: what names the rows, texts, numbers with a few words among them."""

import json

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.columns import as_dates, as_numbers, key_notes, names_of_rows, without_names
from labelnoise.audit.experiment import AuditRun
from labelnoise.audit.materials import read_material
from labelnoise.audit.tables import read_labelled
from labelnoise.cli import main
from labelnoise.runs.reading import read_run
from test_audit_command import COLUMNS

N = 60
CLASS = np.arange(N) % 2
LABELS = np.array(["a", "b"])[CLASS]
TICKETS = [f"0{at:02}" for at in np.random.default_rng(1).permutation(N)]  # read as numbers, they would lose the 0
TEXTS = [f"where is my {'card' if k else 'money'} of day {at}" for at, k in enumerate(CLASS)]


def written(labels=LABELS, **columns):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(3.0 * CLASS), "z": rng.normal(3.0 * CLASS), **columns, "label": labels})
    frame.to_csv("t.csv", index=False)
    return frame


def audited(**settings):
    ln.run_experiment(AuditRun(data="t.csv", label="label", folds=2, **settings), "out", overwrite=True)
    return pd.read_csv("out/suspects.csv", dtype=str, keep_default_na=False), read_run("out").summary["notes"]


@pytest.mark.usefixtures("sketched")
def test_suspects_are_found_back_by_the_column_that_names_the_rows(here):
    labels = LABELS.astype(object)
    labels[[0, 5]] = ""  # left out, so that rows and samples are counted apart
    written(labels=labels, ticket_id=TICKETS, size=np.r_[np.full(10, np.nan), np.arange(N - 10) % 7])
    for settings, said in ({}, True), ({"id": "ticket_id"}, False), ({"ignore": ("ticket_id",)}, True):
        suspects, notes = audited(**settings)
        assert list(suspects) == [*COLUMNS, "ticket_id"] and len(suspects) == N - 2
        assert list(suspects["ticket_id"]) == [TICKETS[at] for at in suspects["index"].astype(int)]
        assert any(note.startswith("each suspect is shown with its 'ticket_id'") for note in notes) == said
        assert "ticket_id" not in dict(json.loads((here / "out/worst.json").read_text())["rows"][0]["fields"])
    worst = json.loads((here / "out/worst.json").read_text())
    assert worst["id"] == "ticket_id"
    for row in worst["rows"]:
        assert row["id"] == TICKETS[row["index"]]
        assert row["neighbours"]["nearest_id"] == TICKETS[row["neighbours"]["nearest"]]
    page = ln.write_report("out").read_text()
    assert "<th>ticket_<wbr>id</th>" in page and f'<td data-head="ticket_id">{worst["rows"][0]["id"]}</td>' in page
    assert f"another label: {worst['rows'][0]['neighbours']['nearest_id']} (" in page
    assert "suspects.csv holds all, its index counts from 0." in page and "<th>index</th>" not in page
    empty = [row for row in worst["rows"] if row["index"] < 10]
    assert empty and dict(empty[0]["fields"])["size"] == "" and "size –" in page and "nan" not in page


@pytest.mark.usefixtures("sketched")
def test_without_such_a_column_the_page_counts_from_0_and_says_so(here):
    written()
    suspects, notes = audited()
    assert list(suspects) == COLUMNS and not any("--id" in note for note in notes)
    page = ln.write_report("out").read_text()
    assert "<th>index</th>" in page and "its index counts from 0." in page and "another label: index " in page


def test_equal_samples_with_different_labels_are_named_as_the_suspects_are(here):
    frame = written(ticket=TICKETS)
    frame.loc[31, ["x", "z"]], frame.loc[[30, 31], "label"] = frame.loc[30, ["x", "z"]], ["a", "b"]
    frame.loc[0, "label"] = ""  # left out, so that rows and samples are counted apart
    frame.to_csv("t.csv", index=False)
    for settings, names in ({"id": "ticket"}, TICKETS), ({"ignore": ("ticket",)}, range(N)):
        assert any(
            note.endswith(f"1, of each label one: {names[30]} (a) and {names[31]} (b)")
            for note in audited(**settings)[1]
        )


def test_of_several_columns_that_may_name_the_rows_none_is_chosen(here):
    words = [f"k{at}" for at in TICKETS]
    written(ticket=TICKETS, key=words, other=[word[::-1] for word in words])
    suspects, notes = audited()
    assert list(suspects) == COLUMNS
    assert "columns that may name the rows: key, other; --id shows one of them with each suspect" in notes
    suspects, notes = audited(id="other")
    assert list(suspects)[-1] == "other" and not any("that may name the rows:" in note for note in notes)


def test_a_name_that_repeats_is_told_and_one_that_is_taken_is_given_an_end(here):
    written(index=[f"k{at // 2}" for at in range(N)], score=[f"{at:03}-s" for at in range(N)])
    suspects, notes = audited(id="index", ignore=("score",))
    assert list(suspects) == [*COLUMNS, "index_in_data"] and suspects["index"].astype(int).is_unique
    assert "rows whose 'index' stands in a row above, too: 30" in notes
    fields = json.loads((here / "out/worst.json").read_text())["rows"][0]["fields"]
    assert [name for name, _ in fields] == ["x", "z"]  # it is not learnt from
    suspects, _ = audited(ignore=("index",))
    assert list(suspects)[-1] == "score_in_data"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--id tikcet", "`id` must name a column of t.csv, got 'tikcet'; did you mean 'ticket'?"),
        ("--id label", "`id` must name another column than the label, got 'label'"),
        ("--id text --text text", "`id` must not name the column of texts, got 'text'"),
    ],
)
def test_a_column_that_cannot_name_the_rows(here, capsys, line, words):
    written(ticket=TICKETS, text=TEXTS)
    assert main(["audit", "t.csv", "--label", "label", *line.split(), "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    np.save("v.npy", np.zeros((N, 3)))
    assert main("audit v.npy --labels t.csv --label label --id ticket --out out".split()) == 2
    assert capsys.readouterr().err == (
        "labelnoise: `id` must name a column of a table, got 'ticket' for an .npy file, which has no columns; leave it "
        "out: suspects are listed by their place in the data, from 0\n"
    )
    (here / "photos/a").mkdir(parents=True)
    assert main("audit photos --id ticket --out out".split()) == 2
    said = capsys.readouterr().err
    assert "got 'ticket' for a folder of images, which has" in said and "listed by the names of their files" in said


def test_a_table_of_texts_says_what_became_of_its_columns(here, capsys):
    pd.DataFrame({"ticket": [f"T{at}" for at in TICKETS], "text": TEXTS, "lang": "en", "label": LABELS}).to_csv(
        "t.csv", index=False
    )
    assert main("audit t.csv --label label --out out".split()) == 2
    said = capsys.readouterr().err
    assert said == (
        "labelnoise: t.csv must have a column to learn from beside 'label', got none: columns whose every value "
        "differs are taken for names and left out: ticket, text; to learn from texts, give their column alone "
        "(--text text); "
        "columns of one value, which say nothing: lang\n"
    )
    suspects, notes = audited(text="text")
    assert list(suspects)[-1] == "ticket" and "each suspect is shown with its 'ticket'" in " ".join(notes)
    pd.DataFrame({"label": LABELS}).to_csv("t.csv", index=False)
    assert main("audit t.csv --label label --out other".split()) == 2
    assert "got none: it has no other; for a column of texts give --text" in capsys.readouterr().err


def test_texts_that_are_left_out_beside_other_columns_are_hinted_at(here):
    frame = written(text=TEXTS, name=[f"Ann {at}" for at in TICKETS])
    (note,) = without_names(frame)[1]
    assert note.endswith("left out: text, name; to learn from texts, give their column alone (--text text)")
    assert "--text" not in without_names(frame.drop(columns="text"))[1][0]
    assert names_of_rows(frame) == ["name"]  # a text is no name
    with pytest.raises(ln.InputError, match=r"columns whose every value .* \(--text text\); columns of one value: y\)"):
        read_material(pd.DataFrame({"text": TEXTS, "y": 1}))


NUMBERS = np.round(np.random.default_rng(2).normal(40 + 30 * CLASS, 5), 1)


def mixed(count, word="unknown"):
    values = NUMBERS.astype(str).astype(object)
    values[:count] = word
    return values


def test_a_few_words_among_numbers_count_as_empty_and_are_named(here):
    values = mixed(2)
    values[7] = None
    written(age=values)
    table = read_labelled(here / "t.csv", "label", "", ())
    material = read_material(table.samples)
    ages = material.samples["age"].to_numpy()
    assert ages.dtype == float and np.isnan(ages[[0, 1, 7]]).all() and np.isnan(ages).sum() == 3
    known = np.isfinite(ages)
    np.testing.assert_array_equal(ages[known], NUMBERS[known])
    assert material.notes == (
        "columns of numbers, whose few other values count as empty (1 of 3): age (2 of 59: 'unknown')",
    )


def test_what_counts_as_a_column_of_numbers():
    def told(values, **how):
        found = as_numbers(pd.Series(values, **how))
        return None if found is None else found[1]

    assert told(mixed(3)) == "3 of 60: 'unknown'" and told(mixed(4)) is None  # 95% and 93%
    assert told(mixed(0)) is None  # texts of numbers throughout are words
    assert told(mixed(3), dtype="category") is None and told(NUMBERS) is None
    assert told([*NUMBERS.tolist(), "?"], dtype=object, index=np.zeros(N + 1, int)) == "1 of 61: '?'"
    assert told([*mixed(0), "inf"]) == "1 of 61: 'inf'"
    assert told([*mixed(0), *mixed(0), "c", "a", "a", "d", "b"]) == "5 of 125: 'a', 'c', 'd', ..."
    assert told([None] * 3, dtype=object) is None


def test_numbers_that_all_differ_are_no_names_for_a_word_among_them():
    distinct = [str(at + 0.5) for at in range(N)] + ["typo"]
    frame = pd.DataFrame({"spend": distinct, "code": [str(at) for at in range(N)] + ["X1"]})
    kept, notes = without_names(frame)
    assert list(kept) == ["spend"] and notes[0].endswith("left out: code")


MANY = 400


def customers(n, repeats=0):
    """Numbers of six digits in no order, of which some stand twice."""
    numbers = np.random.default_rng(3).choice(900_000, n, replace=False) + 100_000
    numbers[:repeats] = numbers[repeats : 2 * repeats]
    return numbers


def shaped(kind):
    rng = np.random.default_rng(4)
    return {
        "salaries": lambda: rng.normal(5e6, 1e6, MANY).round(),
        "prices": lambda: rng.lognormal(14, 0.5, MANY).round(),
        "waits": lambda: rng.exponential(1e7, MANY).round(),
    }[kind]().astype(int)


@pytest.mark.parametrize(
    "values",
    [
        customers(MANY), customers(MANY, 1), customers(MANY, 8), np.random.default_rng(0).permutation(MANY) + 1,
        np.r_[customers(MANY).astype(float), np.nan], [*map(str, customers(MANY, 1)), "unknown"],
    ],
)  # fmt: skip
def test_whole_numbers_that_nearly_all_differ_are_said_to_be_learnt_from(values):
    (note,) = key_notes(pd.DataFrame({"x": 1.5, "client": values}))
    assert note.startswith("columns of whole numbers, nearly all different, that may only name the rows (1 of 2), and")
    assert ": client; where " in note and "(--id client)" in note and "(--ignore client; in Python drop" in note


def test_of_few_rows_the_name_or_a_range_that_is_full_tells():
    found = {
        name: bool(key_notes(pd.DataFrame({name: customers(N, 1)}))) for name in ("x", "customer_no", "userId", "no2")
    }
    assert found == {"x": False, "customer_no": True, "userId": True, "no2": False}
    full = np.random.default_rng(0).permutation(N)
    assert key_notes(pd.DataFrame({"x": full})) and key_notes(pd.DataFrame({"x": 2 * full - 1}))
    assert not key_notes(pd.DataFrame({"x": 3 * full})) and not key_notes(pd.DataFrame({"x": full[:19]}))


@pytest.mark.parametrize(
    "values",
    [
        customers(MANY, 9),  # more than one in fifty stands twice
        np.random.default_rng(0).integers(18, 90, MANY), np.random.default_rng(0).uniform(0, 9e5, MANY),
        customers(MANY) + 0.99, *map(shaped, ("salaries", "prices", "waits")), customers(MANY) > 5e5,
        customers(MANY).astype(str), pd.Series(customers(MANY).astype(str), dtype="category"), [[1]] * MANY,
    ],
)  # fmt: skip
def test_what_is_measured_or_counted_is_not_taken_for_names(values):
    assert key_notes(pd.DataFrame({"x": values})) == []
    if np.asarray(values).dtype.kind in "if":
        assert len(np.unique(values)) > 0.98 * MANY - 2 or len(np.unique(values)) < 80  # most of them nearly all differ


def test_the_note_is_made_once_of_a_file_and_of_a_data_frame(here):
    frame = written(client_id=np.r_[(at := customers(N))[:1], at[1:-1], at[:1]])
    _, notes = audited()
    said = [note for note in notes if "may only name the rows" in note]
    auditor = ln.LabelAuditor(folds=2).fit(frame.drop(columns="label"), frame["label"])
    assert len(said) == 1 and [note for note in auditor.notes_ if "may only name the rows" in note] == said
    for settings in ({"id": "client_id"}, {"ignore": ("client_id",)}):
        assert not any("may only name the rows" in note for note in audited(**settings)[1])


DAYS = pd.date_range("2020-01-01", periods=N, freq="36h").strftime("%d/%m/%Y").to_numpy(object)


def test_a_few_words_among_dates_count_as_empty_and_are_named(here):
    days = DAYS.copy()
    days[:2], days[7] = "unknown", None
    written(day=days)
    material = read_material(read_labelled(here / "t.csv", "label", "", ()).samples)
    values = material.samples["day"].to_numpy()
    assert values.dtype == float and np.isnan(values[[0, 1, 7]]).all() and np.isnan(values).sum() == 3
    assert (np.diff(values[8:]) >= 0).all() and values[-1] > values[8]
    assert material.notes == (
        "columns of dates, whose few other values count as empty (1 of 3): day (2 of 59: 'unknown')",
    )
    days[:4] = "unknown"  # 4 of 59 are too many: a column of words
    written(day=days)
    material = read_material(read_labelled(here / "t.csv", "label", "", ()).samples)
    assert material.samples["day"].dtype == "category" and material.notes == ()


def test_what_counts_as_a_column_of_dates():
    def told(values, **how):
        found = as_dates(pd.Series(values, **how))
        return None if found is None else found[1]

    assert told(DAYS) == "" and told([*DAYS, None, np.nan]) == ""
    assert told([*DAYS, "?", "?", 3], dtype=object, index=np.zeros(N + 3, int)) == "3 of 63: '?', '3'"
    assert told([*DAYS, "0000-00-00"]) is None  # the year first and last
    assert told([f"2020-01-{1 + at % 28:02}" for at in range(N)] + ["0000-00-00"]) == "1 of 61: '0000-00-00'"
    assert told([*DAYS, *["?"] * 3]) == "3 of 63: '?'" and told([*DAYS, *["?"] * 4]) is None  # 95.2% and 93.8%
    distinct = pd.DataFrame({"day": pd.date_range("2020-01-01", periods=N).strftime("%Y-%m-%d").to_numpy(object)})
    assert list(without_names(pd.DataFrame({"day": [*distinct["day"], "never"]}))[0]) == ["day"]  # no name of rows


def test_a_column_of_few_values_that_is_to_name_the_rows_is_told_first_and_not_learnt_from(here, capsys):
    frame = written(city=np.array(["Oslo", "Rome", "Lima"])[np.arange(N) % 3])
    assert main("audit t.csv --label label --folds 2 --id city --out out".split()) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes[0] == (
        "note: `id` names 'city', which has 3 different values in 60 rows and so tells few of them apart; it is left "
        "out of the learning all the same: give --id the column that names each row; to learn from 'city', leave it "
        "out of --id"
    )
    assert not any("stands in a row above" in note for note in notes)
    fields = json.loads((here / "out/worst.json").read_text())["rows"][0]["fields"]
    assert "city" in frame and [name for name, _ in fields] == ["x", "z"]
    twice = read_labelled(here / "t.csv", "label", "", (), "city")
    assert len(twice.first) == 1
    written(city=np.arange(N) // 2)  # each value names two rows
    assert read_labelled(here / "t.csv", "label", "", (), "city").first == ()
