"""`labelnoise audit` on each form of data: what its folder holds, what is reused, refused and said."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from helpers import contents, killed
from labelnoise.audit import materials
from labelnoise.audit.encoding import tfidf
from labelnoise.audit.experiment import AuditRun
from labelnoise.cli import main
from labelnoise.runs.reading import read_run
from made_records import labels
from test_auditor import flipped, table

COLUMNS = ["index", "given", "suggested", "score", "confidence", "flagged"]


def people(n=200, name="people.csv"):
    frame, true = table(n)
    given = flipped(true)
    frame["label"] = np.array(["no", "yes"])[given]
    frame.to_csv(name, index=False)
    return frame, true, given


def notes(path):
    return " | ".join(read_run(path).summary["notes"])


def test_a_table_in_one_command_and_its_page(here, capsys):
    frame, true, given = people()
    line = ["audit", "people.csv", "--label", "label", "--folds", "2", "--cleaned", "--top", "30", "--out", "out"]
    assert main(line) == 0
    suspects = pd.read_csv("out/suspects.csv")
    assert list(suspects) == COLUMNS and sorted(suspects["index"]) == list(range(200))
    assert suspects["score"].is_monotonic_decreasing and set(suspects["suggested"]) == {"no", "yes"}
    wrong = set(np.flatnonzero(given != true))
    flagged = set(suspects.loc[suspects["flagged"], "index"])
    assert len(set(suspects["index"][: len(wrong)]) & wrong) > 0.85 * len(wrong)
    assert 0.7 * len(wrong) < len(flagged) < 1.3 * len(wrong) and len(flagged - wrong) < 0.2 * len(flagged)
    cleaned, original = pd.read_csv("out/cleaned.csv", dtype=str), pd.read_csv("people.csv", dtype=str)
    pd.testing.assert_frame_equal(cleaned.drop(columns="label"), original.drop(columns="label"))
    changed = set(np.flatnonzero(cleaned["label"] != original["label"]))
    suggested = suspects.set_index("index")["suggested"]
    assert changed == {at for at in flagged if suggested[at] != frame["label"][at]}
    assert (cleaned["label"][sorted(changed)] == suggested[sorted(changed)]).all()
    assert (pd.read_csv("people.csv")["label"] == frame["label"]).all()  # never in place
    summary = read_run("out").summary
    low, high = summary["rate_interval"]
    assert low <= summary["rate"] <= high and summary["flagged"] == len(flagged)
    assert summary["wrong"] == 200 * summary["rate"] and summary["wrong_interval"] == [200 * low, 200 * high]
    assert re.match(r"gradient boosting, \d+ epochs \(its stages\); 2 trainings", summary["model"])
    assert sum(summary["class_counts"]) == 200 and sum(summary["class_flagged"]) == len(flagged)
    assert sum(pair["count"] for pair in summary["pairs"]) == len(flagged)
    assert sum(summary["class_wrong"]) == pytest.approx(200 * summary["rate"], rel=1e-3)
    of_class = suspects.groupby("given")[["flagged", "confidence"]].sum().loc[summary["classes"]]
    assert of_class["flagged"].tolist() == summary["class_flagged"]
    assert of_class["confidence"].tolist() == pytest.approx(summary["class_wrong"], abs=0.01)
    expected = [suspects["confidence"][at : at + 100].mean() for at in (0, 100)]  # in the order of the list
    assert [part["expected"] for part in summary["yield"]] == pytest.approx(expected, abs=1e-4)
    assert len(json.loads((here / "out/worst.json").read_text())["rows"]) == 30
    said = capsys.readouterr()
    assert said.err == "[1/2] training 1 of 2\n[2/2] training 2 of 2\n"
    result = [summary["text"], *(f"note: {note}" for note in summary["notes"]), "list: out/suspects.csv"]
    assert said.out.splitlines() == [*result, "run: out (ok); see it with: labelnoise report out"]
    assert main(line) == 0
    reused = capsys.readouterr().out.splitlines()
    assert "already holds this run" in reused[0] and reused[1:] == said.out.splitlines()
    page = ln.write_report("out").read_text()
    for words in (
        "Estimated wrong labels", "What to review first", "The next 10", "What a review yields", "What this cannot see",
        "Suspects by given and suggested label", "By given label", "Suspects along training", "What this is based on",
        'class="sortable"', "<script>", "bear the suggested label", "of 200 labels are wrong",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("<tr>") < 120


def test_another_table_in_the_folder_is_refused(here):
    people(60)
    config = AuditRun(data="people.csv", label="label", folds=2)
    ln.run_experiment(config, "out")
    people(80)
    with pytest.raises(ln.InputError, match="what `data` names has changed"):
        ln.run_experiment(config, "out")
    assert ln.run_experiment(config, "out", overwrite=True).reused is False
    assert len(pd.read_csv("out/suspects.csv")) == 80 and not (here / "out/cleaned.csv").exists()


def test_a_second_pass_and_a_test_split_are_warned_of(here):
    people(60, "people-test.csv")
    ln.run_experiment(AuditRun(data="people-test.csv", label="label", folds=2, cleaned=True), "out")
    assert "this is a test split" in notes("out") and "second pass" not in notes("out")
    ln.run_experiment(AuditRun(data="out/cleaned.csv", label="label", folds=2), "again")
    assert "a second pass over its own corrections" in notes("again")
    for name, said in (("cleaned.csv", True), ("other.csv", False)):  # taken out of the run
        (here / name).write_bytes((here / "out/cleaned.csv").read_bytes())
        ln.run_experiment(AuditRun(data=name, label="label", folds=2), f"of-{name}")
        assert ("a second pass" in notes(f"of-{name}")) == said


def test_texts_and_names_that_only_tell_rows_apart(here, monkeypatch):
    encoded = []
    monkeypatch.setattr(materials, "tfidf", lambda texts: encoded.append(len(texts)) or tfidf(texts))
    rng = np.random.default_rng(0)
    true = rng.integers(2, size=120)
    words = np.array([["goal", "match"], ["vote", "law"]])
    frame = pd.DataFrame(
        {
            "text": [f"the {rng.choice(words[k])} of {rng.choice(words[k])}" for k in true],
            "id": [f"row-{at}" for at in range(120)],
            "label": flipped(true),
        }
    )
    frame.to_csv("texts.csv", index=False)
    ln.run_experiment(AuditRun(data="texts.csv", label="label", text="text"), "texts")
    assert encoded == [120]  # once for all trainings and for the neighbours
    page = ln.write_report("texts").read_text()
    assert "the goal of match" in page and "row-1" in page  # the id is shown, and not learnt from
    frame["n"] = true + rng.normal(0, 0.1, 120)
    frame.to_csv("names.csv", index=False)
    ln.run_experiment(AuditRun(data="names.csv", label="label", folds=2), "names")
    assert "taken for names and left out: id" in notes("names")


def test_a_folder_of_images_some_of_them_damaged(here, monkeypatch):
    from PIL import Image

    monkeypatch.setattr("labelnoise.audit.trainers.EPOCHS", 3)
    monkeypatch.setattr("labelnoise.audit.pictures.SIDE", 8)
    rng = np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (here / "images" / name).mkdir(parents=True)
        for at in range(30):
            pixels = rng.integers(0, 60, (10, 12, 3)) + 150 * k
            Image.fromarray(pixels.astype(np.uint8)).save(f"images/{name}/{at:02}.png")
    (here / "images/light/broken\udcff.jpg").write_bytes(b"no image")
    (here / "images/empty\udcff").mkdir()
    (here / "images/light/notes.txt").write_text("not an image either")
    (here / "images/dark/00.png").rename("images/light/wrong.png")
    (here / "images/light/00.png").rename("images/light/\udcff.png")  # a byte that is no UTF-8
    Image.fromarray(np.zeros((90, 40), np.uint8)).save("images/dark/large.png")
    ln.run_experiment(AuditRun(data="images", folds=1), "out")
    assert r"images that could not be read and are left out (1 of 62): light/broken\xff.jpg" in notes("out")
    assert r"folders without an image, which are left out (1): empty\xff" in notes("out")
    assert "images of 2 sizes were brought to 8 x 8" in notes("out")
    suspects = pd.read_csv("out/suspects.csv")
    assert list(suspects) == [*COLUMNS, "file"] and len(suspects) == 61
    assert r"light/\xff.png" in set(suspects["file"])
    assert suspects["file"].iloc[0] == "light/wrong.png" and suspects["given"].iloc[0] == "light"
    page = ln.write_report("out").read_text()
    assert page.count("data:image/png;base64") >= 20 and '<td data-head="file">light/wrong.png</td>' in page
    assert "<th>index</th>" not in page and page.count("<th>file</th>") == 2


def test_outputs_of_a_training_of_ones_own(here):
    rng = np.random.default_rng(0)
    true, given = labels(300, 3, 0.2)
    logits = rng.normal(0, 0.5, (6, 300, 3))
    logits[:, np.arange(300), true] += 3
    chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    np.savez("epochs.npz", logits=logits, labels=given, held_out=np.arange(300) % 5 == 0)
    np.save("chances.npy", chances[0])
    np.savetxt("labels.txt", given, fmt="%d")
    ln.run_experiment(AuditRun(data="epochs.npz"), "epochs")
    ln.run_experiment(AuditRun(data="chances.npy", labels="labels.txt", outputs="probabilities"), "once")
    for name, words in (("epochs", "outputs of 6 epochs"), ("once", "out-of-sample outputs")):
        suspects = pd.read_csv(f"{name}/suspects.csv")
        flagged = np.zeros(300, bool)
        flagged[suspects.loc[suspects["flagged"], "index"]] = True
        assert (flagged & (given != true)).sum() > 0.9 * (given != true).sum() and flagged.sum() < 80
        assert words in read_run(name).summary["model"]
        assert read_run(name).summary["rate"] == pytest.approx((given != true).mean(), abs=0.05)


def test_embeddings_with_their_labels(here):
    rng = np.random.default_rng(0)
    true = rng.integers(2, size=200)
    np.save("vectors.npy", (rng.normal(0, 1, (200, 70)) + true[:, None]).astype(np.float32))
    pd.DataFrame({"id": range(200), "class": flipped(true)}).to_csv("labels.csv", index=False)
    ln.run_experiment(AuditRun(data="vectors.npy", labels="labels.csv", label="class", folds=2), "out")
    assert "bear the suggested label" in ln.write_report("out").read_text()
    assert read_run("out").summary["rate"] == pytest.approx(0.15, abs=0.07)


def test_a_finished_training_is_audited_without_training(here, monkeypatch):
    config = ln.TrainRun(
        data="digits", classes=(3, 8), noise="symmetric:0.2", model="mlp", training=ln.TrainConfig(epochs=6, lr=0.05)
    )
    ln.run_experiment(config, "run")
    monkeypatch.setattr("labelnoise.training.loop.fit", None)
    ln.run_experiment(AuditRun(data="run"), "out")
    data = config.load()
    suspects = pd.read_csv("out/suspects.csv")
    assert set(suspects["index"]) == set(data.index) and set(suspects["given"]) == {3, 8}
    flagged = set(suspects.loc[suspects["flagged"], "index"])
    wrong = set(data.index[data.noisy])
    assert len(flagged & wrong) > 0.6 * len(wrong)
    given = suspects.set_index("index").loc[data.index, "given"].to_numpy()
    assert (given == np.array(data.class_names, int)[data.y_given]).all()
    assert "data:image/png" in ln.write_report("out").read_text()


@pytest.mark.parametrize(
    "line, words",
    [
        ("", "needs data first: labelnoise audit DATA"),
        ("peple.csv --label label", "did you mean 'people.csv'"),
        ("people.csv", "`label` must name the column of the labels; people.csv has age, job"),
        ("people.csv --label lable", "got 'lable'; did you mean 'label'"),
        ("people.csv --label label --ignore rch", "did you mean 'rich'"),
        ("people.csv --label label --text age", "got numbers in 'age'"),
        ("people.csv --label age", "the column 'age' must hold classes, got floats"),
        ("people.csv --label label --score aums", "did you mean 'aum'"),
        ("other.npz --label label", "must name an array"),
        ("other.npz", "must hold samples"),
        ("wide.npz", "one column a class (2 among the labels, ascending), got 5"),
        ("short.npz", "the array 'y' must hold one label a sample of the array 'logits' (30), got 40"),
        ("floats.npy --labels few.txt", "few.txt must hold one label a sample of floats.npy (40), got 10; match them"),
        (
            "logits.npy --labels few.txt --outputs logits",
            "few.txt must hold one label a sample of logits.npy (40), got",
        ),
        (
            "logits.npy --labels labels.txt --outputs probabilities",
            "logits.npy must hold probabilities in [0, 1], got 2",
        ),
        ("logits.npy --labels labels.txt --outputs probabilities", "if these are logits, say so (--outputs logits;"),
        ("uneven.npz", "the array 'probabilities' must hold probabilities that sum to 1 for each sample, got 0.8"),
        ("floats.npy", "`labels` must name the file of the labels"),
        ("images.png", "must be one of .csv"),
        ("empty", "must hold a folder of images for each class"),
        ("floats.npy --labels labels.txt --cleaned", "`cleaned` needs a table"),
        ("people.csv --label label --folds -1", "`folds` must be an integer >= 0"),
    ],
)
def test_bad_input_leaves_no_trace(here, capsys, line, words):
    people(40)
    np.savez("other.npz", y=np.arange(40) % 2, what=np.zeros(40))
    np.savez("wide.npz", y=np.arange(40) % 2, logits=np.zeros((2, 40, 5)))
    np.savez("short.npz", y=np.arange(40) % 2, logits=np.zeros((2, 30, 2)))
    np.save("floats.npy", np.random.default_rng(0).normal(size=(40, 70)))
    np.save("logits.npy", np.full((40, 2), 2.0))
    np.savez("uneven.npz", y=np.arange(40) % 2, probabilities=np.full((40, 2), 0.4))
    np.savetxt("labels.txt", np.arange(40) % 2, fmt="%d")
    np.savetxt("few.txt", np.arange(10) % 2, fmt="%d")
    (here / "images.png").write_bytes(b"")
    (here / "empty").mkdir()
    assert main(["audit", *line.split(), "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not (here / "out").exists()


@pytest.mark.parametrize("each", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_change_leaves_a_folder_that_the_command_takes(here, each):
    """Outputs of a training cost nothing: after a kill at every so many changes, the same files come out."""
    rng = np.random.default_rng(0)
    true, given = labels(60, 2, 0.2)
    chances = np.where(true[:, None] == np.arange(2), 0.9, 0.1) + rng.uniform(-0.05, 0.05, (60, 2))
    np.savez("once.npz", probabilities=chances / chances.sum(axis=1, keepdims=True), labels=given)
    config = AuditRun(data="once.npz", top=3)
    ln.run_experiment(config, "whole")
    expected = {name: text for name, text in contents("whole").items() if name != "config.json"}
    assert {"suspects.csv", "worst.json", "summary.json", "history.csv", "checksums.json"} <= set(expected)
    moves = killed(lambda: ln.run_experiment(config, "count"), here)
    assert len(moves) >= 20
    for at in range((each + 1) // 2, len(moves), each):
        out = f"killed-{at}"
        killed(lambda out=out: ln.run_experiment(config, out), here, at)
        finished = (here / out / "summary.json").exists()
        assert ln.run_experiment(config, out).reused == finished
        left = {name: text for name, text in contents(out).items() if name not in ("config.json", "checksums.json")}
        assert left == {name: text for name, text in expected.items() if name != "checksums.json"}


def test_labels_are_spelt_as_in_the_file(here, capsys, monkeypatch):
    """No output has a class that the file has not, and numbers are ordered as such: 9 before 010."""
    monkeypatch.setattr("labelnoise.audit.trainers.STAGES", 10)
    frame, _, given = people()
    for spelling in (("9", "010"), ("0.0", "1.0"), ("FALSE", "TRUE")):
        frame["label"] = np.array(spelling)[given]
        frame.to_csv("latest.csv", index=False)
        assert main("audit latest.csv --label label --folds 2 --cleaned --overwrite --out out".split()) == 0
        cleaned = pd.read_csv("out/cleaned.csv", dtype=str)["label"]
        assert set(cleaned) == set(spelling) and (cleaned != frame["label"]).any()
        suspects = pd.read_csv("out/suspects.csv", dtype=str)
        assert set(suspects["given"]) == set(suspects["suggested"]) == set(spelling)
        assert (suspects["given"] == frame["label"][suspects["index"].astype(int)].to_numpy()).all()
        assert read_run("out").summary["classes"] == list(spelling)
        row = json.loads((here / "out/worst.json").read_text())["rows"][0]
        assert {row["given"], row["suggested"], row["neighbours"]["nearest_label"]} == set(spelling)
    assert "of 200 labels are wrong" in capsys.readouterr().out
    assert "test split" not in notes("out")


def test_labels_that_cannot_be_read_or_cleaned_are_refused(here, capsys):
    np.save("x.npy", np.zeros((30, 3)))
    (here / "y.txt").write_bytes("caf\xe9\n".encode("latin-1") * 30)
    (here / "y.csv").write_text("")
    for labels_, words in (("y.txt", "save it in UTF-8"), ("y.csv", "could not be read as labels")):
        assert main(["audit", "x.npy", "--labels", labels_, "--out", "out"]) == 2
        assert words in capsys.readouterr().err
    np.save("y.npy", np.arange(30) % 2)
    assert main("audit x.npy --labels y.npy --cleaned --out out".split()) == 2
    assert "`cleaned` needs a table" in capsys.readouterr().err
