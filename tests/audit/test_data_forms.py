"""Data as they are found: images of any layout, labels with gaps, compressed tables, pipes, damaged folders."""

import gzip
import json
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from labelnoise.audit.contradiction import wilson
from labelnoise.audit.experiment import AuditRun, _cleaned
from labelnoise.audit.judging import judge
from labelnoise.audit.labels import amount_notes, order_notes, read_labels
from labelnoise.audit.materials import read_material
from labelnoise.audit.pictures import read_picture_array, read_picture_folder
from labelnoise.audit.recorded import read_training
from labelnoise.audit.sources import read_source
from labelnoise.audit.table_files import form_of
from labelnoise.audit.tables import read_label_file
from labelnoise.cli import main
from labelnoise.runs.reading import read_run

N = 40
CLASS = np.arange(N) % 2


def notes(path):
    return " | ".join(read_run(path).summary["notes"])


def pictures(channels=3):
    """Images (n, C, 6, 5) of bytes that differ along each axis."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 60, (N, channels, 6, 5)) + 150 * CLASS[:, None, None, None]).astype(np.uint8)


FIRST = pictures()
GREY, RGBA = FIRST[:, :1], np.concatenate([FIRST, np.full((N, 1, 6, 5), 7, np.uint8)], axis=1)


@pytest.mark.parametrize(
    "array, expected",
    [
        (FIRST, FIRST), (np.moveaxis(FIRST, 1, 3), FIRST), (GREY, GREY), (np.moveaxis(GREY, 1, 3), GREY),
        (GREY[:, 0], GREY), (RGBA, FIRST), (np.moveaxis(RGBA, 1, 3), FIRST),
        (np.moveaxis(FIRST, 1, 3).astype(np.float32) / 255, FIRST), (GREY[:, 0] / 255, GREY),
        (np.moveaxis(RGBA, 1, 3) / 255, FIRST),
    ],
    ids=["first", "last", "grey first", "grey last", "grey", "RGBA first", "RGBA last", "float32", "grey float64",
         "RGBA float64"],
)  # fmt: skip
def test_images_of_any_layout_are_brought_to_one(here, array, expected):
    images, said = read_picture_array(array, "`X`")
    np.testing.assert_array_equal(images, expected)
    assert images.dtype == np.uint8 and images.flags.c_contiguous
    wide = array.ndim == 4 and 4 in (array.shape[1], array.shape[3])
    assert [("transparency was left out" in note, "brought to bytes" in note) for note in said] == [
        pair for pair, is_so in (((True, False), wide), ((False, True), array.dtype.kind == "f")) if is_so
    ]
    assert read_material(array).notes == tuple(said)
    np.savez("x.npz", x_train=array, y_train=CLASS)
    source = read_source(AuditRun(data="x.npz"))
    np.testing.assert_array_equal(source.images, expected)
    assert source.samples is source.images and source.notes == tuple(said)


@pytest.mark.parametrize("line", ["x.npz", "x.npy --labels lab.txt"])
def test_images_with_their_channels_last_are_audited_to_the_end(here, monkeypatch, line):
    monkeypatch.setattr("labelnoise.audit.trainers.EPOCHS", 2)
    np.savez("x.npz", x=np.moveaxis(FIRST, 1, 3), y=CLASS)
    np.save("x.npy", np.moveaxis(RGBA, 1, 3))
    np.savetxt("lab.txt", CLASS, fmt="%d")
    assert main(["audit", *line.split(), "--folds", "1", "--out", "out"]) == 0
    rows = json.loads((here / "out/worst.json").read_text())["rows"]
    assert len(rows) == N and all(row["image"].startswith("data:image/png;base64,") for row in rows)
    assert ("transparency was left out" in notes("out")) == line.startswith("x.npy")


@pytest.mark.parametrize(
    "array, words",
    [
        (FIRST.astype(np.int64), "got int64 (40, 3, 6, 5) from 0 to 209; give x.round().astype('uint8')"),
        (FIRST.astype(np.float32), "give x.round().astype('uint8')"),
        (np.moveaxis(FIRST, 1, 3) / 255 - 0.5, "or of floats in [0, 1], got float64 (40, 6, 5, 3) from -0.5 to"),
        (FIRST > 90, "give 255 * x.astype('uint8')"),
        (np.where(FIRST > 90, np.nan, 0.5), "replace NaN and infinity first"),
        (np.repeat(GREY, 2, axis=1), "with C = 1, 3 or 4, got shape (40, 2, 6, 5); choose the channels first"),
    ],
)
def test_arrays_that_are_no_images_are_refused_in_one_clean_sentence(here, capsys, array, words):
    np.savez("x.npz", x=array, y=CLASS)
    assert main("audit x.npz --out out".split()) == 2
    said = capsys.readouterr().err
    assert words in said and "the data must hold images" in said and "Reshape" not in said and said.count("\n") == 1
    with pytest.raises(ln.InputError, match="`X` must hold images"):
        ln.LabelAuditor().fit(array, CLASS)


def test_the_column_of_a_file_of_labels_is_asked_for_where_there_are_several(here, capsys):
    np.save("v.npy", np.random.default_rng(0).normal(size=(N, 3)) + CLASS[:, None])
    pd.DataFrame({"class": CLASS, "fold": np.arange(N) % 5, "size": np.arange(N) / 3}).to_csv("y.csv", index=False)
    pd.DataFrame({"class": CLASS}).to_csv("one.csv", index=False)
    for more, words in (
        ("", "`label` must name the column of the labels; y.csv has class, fold, size"),
        ("--label size", "the column 'size' of y.csv must hold classes, got floats"),
        ("--label size --outputs logits", "the column 'size' of y.csv must hold classes"),
    ):
        assert main(["audit", "v.npy", "--labels", "y.csv", *more.split(), "--out", "out"]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    for line, column in (("y.csv --label class", "'class' of y.csv"), ("one.csv", "'class' of one.csv")):
        file, *_, name = [*line.split(), ""] if "--label" not in line else line.split()
        source = read_source(AuditRun(data="v.npy", labels=file, label=name))
        assert list(source.labels) == [str(k) for k in CLASS] and source.arguments["`y`"] == f"the column {column}"


def test_a_pipe_among_the_images_is_listed_as_one_that_cannot_be_read(here, monkeypatch):
    from PIL import Image

    for at, image in enumerate(GREY[:, 0]):
        folder = here / "photos" / "ab"[CLASS[at]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{at}.png")
    os.mkfifo("photos/a/x.png")
    (here / "photos/c").mkdir()
    (here / "photos/c/x.heic").write_bytes(b"of a telephone")
    (here / "photos/b/y.png").symlink_to("y.png")
    opened = []

    def look(file, real=Image.open):  # a pipe is not read here either: that would never end
        opened.append(file.name)
        return real(file if file.is_file() else here / "absent")

    monkeypatch.setattr("PIL.Image.open", look)
    source = read_source(AuditRun(data="photos"))
    assert source.notes == (
        "folders without an image, which are left out (1): c",
        "images that could not be read and are left out (2 of 42): a/x.png, b/y.png",
    )
    assert len(source.images) == N and "x.png" not in opened and "0.png" in opened


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_labels_a_line_are_read_with_a_mark_of_utf_8_or_without(here, mark):
    (here / "y.txt").write_text(mark + "katze\nhündin\n" * 20, encoding="utf-8")
    assert list(read_label_file(here / "y.txt", "")[0]) == ["katze", "hündin"] * 20


@pytest.mark.parametrize("form", [list, lambda texts: np.array(texts, dtype=object)], ids=["list", "array"])
def test_the_first_of_some_texts_may_be_missing(form):
    material = read_material(form([None, *(f"text {at}" for at in range(N))]))
    assert material.kind == "text" and material.notes[0].endswith("nothing but their class: 1")


@pytest.mark.parametrize("form", [".png", ".tif"])
def test_grey_images_of_16_bits_keep_their_greys(here, form):
    """Brought to bytes by Pillow itself, all above 255 of 65,535 would be white."""
    from PIL import Image

    for at, image in enumerate(GREY[:, 0]):
        folder = here / "scans" / "ab"[CLASS[at]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint16) * 256 + 77).save(folder / f"{at:02}{form}")
    Image.fromarray(GREY[0, 0] / np.float32(255)).save("scans/a/float.tif")
    Image.fromarray(GREY[0, 0].astype(np.int32)).save("scans/b/whole.tif")
    (here / "scans/.thumbnails").mkdir()  # what a program left is no class
    Image.fromarray(GREY[0, 0]).save("scans/.thumbnails/0.png")
    source = read_source(AuditRun(data="scans"))
    np.testing.assert_array_equal(source.images, GREY[np.argsort(CLASS, kind="stable")])
    assert source.notes == (
        "images that could not be read and are left out (2 of 42): a/float.tif, b/whole.tif",
        "grey images of 16 bits, of which the upper 8 are used: 40",
    )


@pytest.mark.parametrize(("sides", "brought"), [((64, 64), 64), ((65, 65), 32), ((20, 24), 32)])
def test_images_of_several_sizes_or_of_more_than_64_pixels_are_brought_to_32(here, sides, brought):
    from PIL import Image

    for name, side in zip("ab", sides, strict=True):
        (here / name).mkdir()
        Image.fromarray(np.full((side, side), 7, np.uint8)).save(f"{name}/0.png")
    images, _, _, said = read_picture_folder(here)
    assert images.shape == (2, 1, brought, brought) and (images == 7).all()
    size = f"{len({*sides})} sizes" if len({*sides}) > 1 else "one size"
    assert said == [f"images of {size} were brought to 32 x 32 for the network"] * (brought == 32)


def test_grey_images_of_each_form_are_grey_and_a_palette_is_colours(here):
    from PIL import Image

    (here / "a").mkdir()
    grey = Image.fromarray(GREY[0, 0])
    for form in ("1", "L", "LA"):
        grey.convert(form).save(f"a/{form}.png")
    assert read_picture_folder(here)[0].shape == (3, 1, 6, 5)
    grey.convert("P").save("a/P.png", transparency=bytes(range(256)))  # of which Pillow warns where it is left as it is
    assert read_picture_folder(here)[0].shape == (4, 3, 6, 5)


def made(here, **settings):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=N) + 4 * CLASS, "label": np.where(CLASS, "yes", "no")})
    frame.to_csv("t.csv", index=False)
    ln.run_experiment(AuditRun(data="t.csv", label="label", folds=2, **settings), "out")
    return frame


@pytest.mark.usefixtures("sketched")
def test_a_page_describes_only_the_files_that_were_computed(here, capsys):
    made(here)
    whole = (here / "out/suspects.csv").read_bytes()
    assert main(["report", "out"]) == 0
    (here / "out/suspects.csv").write_bytes(whole[: len(whole) // 2])
    assert main(["report", "out"]) == 2
    assert "out/suspects.csv is damaged or was changed" in capsys.readouterr().err
    (here / "out/suspects.csv").write_bytes(whole)
    (here / "out/checksums.json").unlink()
    (here / "out/worst.json").write_text("{}")
    assert main(["report", "out"]) == 2
    said = capsys.readouterr().err
    assert "out lacks checksums.json" in said and said.count("\n") == 1


@pytest.mark.parametrize("end", [".csv", ".tsv.gz", ".parquet"])
def test_rows_without_a_label_are_left_out_and_counted(here, end):
    if end == ".parquet":
        pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    label = pd.Series(np.where(CLASS, "yes", "no"), dtype=object)
    label[[0, 7, 30]] = [None, None, None]
    label[2] = "yes"  # wrong
    frame = pd.DataFrame({"x": rng.normal(size=N) + 9 * CLASS, "z": rng.normal(size=N) + 9 * CLASS, "label": label})
    if end == ".parquet":
        frame.to_parquet("t.parquet")
    else:
        frame.to_csv(f"t{end}", index=False, sep="\t" if "t" in end else ",")
    assert main(["audit", f"t{end}", *"--label label --folds 2 --decision rejected --cleaned --out out".split()]) == 0
    assert "rows without a label, which are left out: 3 of 40" in notes("out")
    suspects = pd.read_csv("out/suspects.csv")
    assert set(suspects["index"]) == set(range(N)) - {0, 7, 30} and suspects["index"][0] == 2
    kept = suspects.set_index("index")["given"]
    assert (kept == label[kept.index]).all() and read_run("out").summary["samples"] == 37
    cleaned = pd.read_csv("out/cleaned.csv", keep_default_na=False)
    changed = {at for at in range(N) if cleaned["label"][at] != (label[at] or "")}
    assert 2 in changed and cleaned["label"][2] == "no" and not changed & {0, 7, 30}
    assert changed == set(suspects.loc[suspects["flagged"] & (suspects["given"] != suspects["suggested"]), "index"])
    row = json.loads((here / "out/worst.json").read_text())["rows"][0]
    assert row["index"] == 2 and float(dict(row["fields"])["x"]) == pytest.approx(frame["x"][2])


def test_a_column_without_any_label_is_refused(here):
    pd.DataFrame({"x": range(N), "label": " "}).to_csv("t.csv", index=False)
    with pytest.raises(ln.InputError, match="`label` must name a column of labels, got 'label' of t.csv, which is em"):
        read_source(AuditRun(data="t.csv", label="label"))


@pytest.mark.parametrize("end", [".csv.gz", ".TSV.gz"])
def test_compressed_tables_are_read_as_others_are(here, end):
    frame = made(here)
    text = frame.to_csv(index=False, sep="," if "csv" in end else "\t")
    (here / f"t{end}").write_bytes(gzip.compress(text.encode()))
    source = read_source(AuditRun(data=f"t{end}", label="label"))
    pd.testing.assert_frame_equal(source.samples, frame[["x"]])
    assert list(source.labels) == list(frame["label"])
    (here / f"wide{end}").write_bytes(gzip.compress(text.replace("no", "no,1\t1").encode()))
    with pytest.raises(ln.InputError, match="its rows hold . values, its first line 2 names"):
        read_source(AuditRun(data=f"wide{end}", label="label"))
    (here / f"bad{end}").write_bytes(text.encode())
    with pytest.raises(ln.InputError, match="could not be read as a table"):
        read_source(AuditRun(data=f"bad{end}", label="label"))


def test_the_form_of_a_file_is_its_suffix(tmp_path):
    names = {"a.CSV": ".csv", "a.b.csv.gz": ".csv.gz", "a.gz": ".gz", "csv.gz": ".gz", "a.csv.bak": ".bak", "a": ""}
    assert {name: form_of(tmp_path / name) for name in names} == names


def test_parquet_is_read_as_a_csv_file_is(here):
    pytest.importorskip("pyarrow")
    frame = made(here)
    frame.to_parquet("t.parquet")
    ln.run_experiment(AuditRun(data="t.parquet", label="label", folds=2, cleaned=True), "other")
    assert (here / "other/suspects.csv").read_text() == (here / "out/suspects.csv").read_text()
    assert list(pd.read_csv("other/cleaned.csv")) == ["x", "label"]


def test_without_its_library_parquet_names_the_extra(here, monkeypatch):
    def absent(path):
        raise ImportError

    monkeypatch.setattr("pandas.read_parquet", absent)
    (here / "t.parquet").write_bytes(b"")
    with pytest.raises(ln.InputError, match=r"needs pyarrow to be read; pip install 'labelnoise\[tables\]'"):
        read_source(AuditRun(data="t.parquet", label="label"))


def test_an_interval_is_in_zero_to_one_and_never_minus_zero():
    for n in range(1, 100):
        (low, _), (_, high) = wilson(0, n), wilson(n, n)
        assert 0 <= low < 1e-12 and not np.signbit(low) and 1 - 1e-12 < high <= 1, n


@pytest.mark.parametrize("flag", ["data", "labels"])
def test_paths_that_are_none_are_refused_in_one_sentence(here, capsys, flag):
    np.save("v.npy", np.zeros((N, 3)))
    (here / "loop").symlink_to("loop")
    lead = {"data": ["audit"], "labels": ["audit", "v.npy", "--labels"]}[flag]
    assert main([*lead, "x" * 5_000 + ".csv", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert f"`{flag}` must be a path of names up to 255 bytes, got one of 5004; shorten it" in said and len(said) < 200
    assert main([*lead, "loop", "--out", "out"]) == 2
    assert "loop must be a regular file, got a link to nothing" in capsys.readouterr().err


def accepted():
    """A record of three classes: the labels of 0 to 9 are wrong, and those of 5 to 9 accepted around the stop."""
    rng = np.random.default_rng(0)
    true = np.arange(200) % 3
    given = np.where(np.arange(200) < 10, (true + 1) % 3, true)
    recorder, everyone = ln.Recorder(200, 3), np.arange(200)
    for epoch in range(1, 11):
        logits = rng.normal(0, 0.1, (200, 3))
        logits[everyone, true] += epoch
        logits[np.arange(5, 10), given[5:10]] += (epoch + 0.5) * (epoch > 4)
        recorder.update(everyone, logits, given)
        recorder.end_epoch()
    return recorder, given


def test_of_a_suspect_whose_label_is_accepted_nothing_is_suggested():
    recorder, given = accepted()
    trainings = [read_training(recorder, np.arange(200) % 2 == 0, 8)]
    verdict = judge(trainings, score="mean-margin", decision="mixture")
    same = verdict.flagged & (verdict.suggested == given)
    assert list(np.flatnonzero(verdict.flagged)) == list(range(10)) and list(np.flatnonzero(same)) == list(range(5, 10))
    (note,) = [note for note in verdict.notes if "accepts" in note]
    assert "accepts, though it is suspicious: 5 of 10; no other class" in note
    assert not any("accepts" in note for note in judge(trainings, decision="rejected").notes)


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("n_classes", [3, 13])
def test_the_page_suggests_no_class_that_is_the_given_one(here, n_classes):
    """A page of few classes and one of many: half of the wrong labels are memorised before the stop."""
    rng = np.random.default_rng(0)
    true = np.arange(260) % n_classes
    given = np.where(np.arange(260) < 26, (true + 1) % n_classes, true)
    logits = rng.normal(0, 1, (10, 260, n_classes))
    logits[:, np.arange(260), true] += 3
    logits[4:, np.arange(13, 26), given[13:26]] += 3.3
    np.savez("x.npz", logits=logits, labels=given, held_out=np.arange(260) % 2 == 0)
    ln.run_experiment(AuditRun(data="x.npz", decision="mixture", score="mean-margin"), "out")
    suspects = pd.read_csv("out/suspects.csv")
    same = suspects["flagged"] & (suspects["suggested"] == suspects["given"])
    assert 0 < same.sum() < suspects["flagged"].sum()
    assert f"accepts, though it is suspicious: {same.sum()} of {suspects['flagged'].sum()};" in notes("out")
    text = ln.write_report("out").read_text()
    listed = text.split("What to review first")[1].split("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", listed, re.S)]
    rows = [[re.sub(r"(\s*<[^>]*>\s*)+", "|", cell).strip() for cell in row] for row in rows if row]
    assert len(rows) == 20
    for row, (_, label) in zip(rows, suspects.head(20).iterrows(), strict=True):
        expected = "none|the model accepts the label" if label["given"] == label["suggested"] else label["suggested"]
        assert row[1].strip("|") == str(label["given"]) and row[2].strip("|") == str(expected)
    pairs = text.split("Suspects by given and suggested label")[1].split("</table>")[0]
    assert ("nothing is suggested" in pairs) == (n_classes == 3) and ("none" in pairs) == (n_classes == 13)


def test_cleaning_keeps_a_label_that_the_model_accepts(here):
    """Every row is flagged here, the ones that are right, too: only labels that the model rejects are changed."""
    frame = made(here, decision="counted", cleaned=True)
    auditor = ln.LabelAuditor(folds=2).fit(frame[["x"]], frame["label"])
    verdict = auditor.audit_.verdict
    auditor.flagged_ = np.ones(N, bool)
    auditor.audit_ = replace(auditor.audit_, verdict=replace(verdict, flagged=auditor.flagged_))
    accepted = verdict.suggested == verdict.given
    assert accepted.any() and (auditor.clean_labels()[accepted] == frame["label"][accepted]).all()
    cleaned = _cleaned(AuditRun(data="t.csv", label="label"), auditor.audit_.verdict, ["no", "yes"], None)
    assert list(cleaned["label"]) == list(auditor.clean_labels())


def test_labels_whose_index_is_that_of_the_samples_in_another_order_are_noted():
    frame = pd.DataFrame({"x": CLASS + np.arange(N) / 99}, index=[f"r{at}" for at in range(N)])
    labels = pd.Series(CLASS, frame.index)
    mixed = labels.sample(frac=1, random_state=0)
    for y in (labels, labels.to_numpy(), labels.reset_index(drop=True), labels.rename(lambda name: f"{name}'")):
        assert order_notes(frame, y) == []
    assert order_notes(frame.to_numpy(), mixed) == []
    first = {name: name[:2] for name in frame.index}  # names that repeat
    assert order_notes(frame.rename(first), mixed.rename(first)) == []
    assert "every label is that of another sample" in ln.LabelAuditor(folds=2).fit(frame, mixed).notes_[0]
    assert not any("another order" in note for note in ln.LabelAuditor(folds=2).fit(frame, labels).notes_)


def test_labels_that_may_be_amounts_are_noted_and_bring_no_warnings():
    rng = np.random.default_rng(0)
    x, amounts = rng.normal(size=(90, 3)), np.repeat(np.arange(30) * 10, 3)
    for values, expected in (
        (amounts, True), (amounts.astype(str), True), (np.arange(90) % 20, False), (np.repeat(amounts, 10), False),
        ([f"a{amount}" for amount in amounts], False),
    ):  # fmt: skip
        assert bool(amount_notes(read_labels("y", values))) is expected
    many = np.concatenate([np.arange(40), np.arange(40), np.arange(10)])  # scikit-learn warns of more than half
    assert ln.LabelAuditor(folds=2).fit(x, many).notes_[0].startswith("the 90 labels are 40 different numbers: if")


def test_probabilities_that_were_taken_for_vectors_are_noted(here, capsys):
    rng = np.random.default_rng(0)
    chances = rng.dirichlet([1, 1], N)
    np.save("y.npy", CLASS)
    for values, expected in (
        (chances, True),
        (chances * 1.1, False),
        (3 * chances - 1, False),
        (chances[:, :1], False),
    ):
        np.save("p.npy", values)
        assert bool(read_source(AuditRun(data="p.npy", labels="y.npy")).first) is expected
    np.save("p.npy", chances)
    assert main("audit p.npy --labels y.npy --folds 2 --out out".split()) == 0
    assert "note: p.npy has a column a class, and each row adds up to 1" in capsys.readouterr().out.splitlines()[1]
    assert read_source(AuditRun(data="p.npy", labels="y.npy", outputs="probabilities")).first == ()
    np.save("y.npy", np.eye(2)[CLASS])
    assert main("audit p.npy --labels y.npy --out rows".split()) == 2
    assert "y.npy must hold one label a sample, got float64 (40, 2); give a vector" in capsys.readouterr().err


def test_labels_without_a_line_of_names_are_refused(here):
    np.save("v.npy", np.eye(N))
    pd.Series(CLASS).to_csv("y.csv", index=False, header=False)
    with pytest.raises(ln.InputError, match=r"got 39 labels below the column '0' of y.csv; put a line of names above"):
        read_source(AuditRun(data="v.npy", labels="y.csv"))


def test_a_path_that_is_not_there_suggests_only_what_can_be_read(here):
    for name in ("notes.md", "data.csv", "x.npz"):
        (here / name).write_text("")
    (here / "photos/cat").mkdir(parents=True)
    (here / "empty").mkdir()
    with pytest.raises(ln.InputError, match=r"there is no qqq; choose one of 'data.csv', 'photos', 'x.npz'$"):
        read_source(AuditRun(data="qqq"))


def test_the_folder_that_an_audit_is_to_write_is_not_suggested_as_its_data(here, capsys):
    assert main("audit people.csv --label income --out people".split()) == 2
    assert capsys.readouterr().err.strip() == "labelnoise: there is no people.csv; check the path"


class Polars:
    """A data frame of another library: as an array it has no names."""

    def __init__(self, frame, absent=False):
        self.frame, self.columns, self.shape, self.absent = frame, list(frame), frame.shape, absent

    def __array__(self, dtype=None, copy=None):
        return self.frame.to_numpy(dtype=dtype)

    def to_pandas(self):
        if self.absent:
            raise ModuleNotFoundError("pyarrow is required")
        return self.frame


def test_a_data_frame_of_another_library_is_read_as_one_of_pandas():
    frame = pd.DataFrame({"id": [f"r{at}" for at in range(N)], "x": CLASS + np.arange(N) / 99})
    one, other = (ln.LabelAuditor(folds=2).fit(X, CLASS) for X in (frame, Polars(frame)))
    assert one.suspects_.equals(other.suspects_) and one.notes_ == other.notes_
    assert list(other.feature_names_in_) == ["id", "x"]
    with pytest.raises(ln.InputError, match=r"`to_pandas` fails \(pyarrow is required\); install it"):
        ln.LabelAuditor().fit(Polars(frame, absent=True), CLASS)


def test_names_of_images_are_not_taken_for_texts(here, capsys):
    names = [f"photos/{'ab'[k]}/{at}.JPG" for at, k in enumerate(CLASS)]
    with pytest.raises(ln.InputError, match="got names of images such as photos/a/0.JPG; sort these into a folder a"):
        ln.LabelAuditor().fit(names, CLASS)
    pd.DataFrame({"file": names, "class": CLASS}).to_csv("t.csv", index=False)
    assert main("audit t.csv --label class --text file --out out".split()) == 2
    assert "the columns of t.csv must hold texts, got names of images" in capsys.readouterr().err
    assert read_material([*names[1:], "a text"]).kind == "text"


def test_outputs_of_a_training_that_held_nothing_out_say_so(here, capsys):
    np.savez("o.npz", logits=np.random.default_rng(0).normal(size=(3, N, 2)), labels=CLASS)
    assert main("audit o.npz --out out".split()) == 0
    assert "how many are is not estimated: no samples were held out." in capsys.readouterr().out.splitlines()[0]
