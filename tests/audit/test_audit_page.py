"""The list of suspects on a narrow screen: a row is a card, and nothing is scrolled sideways."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from browser import BROWSER, measure
from labelnoise.audit import trainers
from labelnoise.audit.experiment import AuditRun
from labelnoise.audit.page import _notes
from labelnoise.audit.page_list import _alike, ranking_tables
from labelnoise.audit.worst import _written
from labelnoise.cli import main
from labelnoise.runs.files import read_json
from labelnoise.runs.reading import read_run
from test_auditor import flipped

UNDRAWN = {"title": "", "text": "", "address": "", "alt": "", "width": "1"}
NAMES = np.array(["apple_pay_or_google_pay_at_a_terminal", "a class of several long words"])
"""As wide as names of classes come."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of an audit of texts and of one of images."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    true = rng.integers(2, size=60)
    words = np.array([["goal", "match"], ["vote", "parliamentary_undersecretary_of_state"]])
    texts = [" ".join(rng.choice(words[k], 6)) for k in true]
    pd.DataFrame({"text": texts, "label": NAMES[flipped(true)]}).to_csv(folder / "texts.csv", index=False)
    for at, k in enumerate(true):
        (folder / "images" / NAMES[k]).mkdir(parents=True, exist_ok=True)
        pixels = (rng.integers(0, 60, (8, 8)) + 150 * k).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / NAMES[k] / f"a-rather-long-name-of-a-file-{at:05}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers, "EPOCHS", 12)  # fewer, and nothing is decided
        patch.setattr("labelnoise.report.page._draw", lambda *picture: UNDRAWN)
        texts = AuditRun(data=str(folder / "texts.csv"), label="label", text="text", folds=3)
        ln.run_experiment(texts, folder / "of-texts")
        ln.run_experiment(AuditRun(data=str(folder / "images"), folds=1), folder / "of-images")
        return [ln.write_report(folder / name) for name in ("of-texts", "of-images")]


def test_each_cell_of_the_list_bears_its_heading(pages):
    for page in pages:
        text = page.read_text()
        stacked = re.findall(r'<table class="sortable stacked">.*?</table>', text, re.DOTALL)
        assert len(stacked) == 2  # the first twenty, and the rest
        for table in stacked:
            heads = re.findall(r"<th>(.*?)</th>", table)
            rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]
            assert rows and all(re.findall(r'<td[^>]* data-head="(.*?)"', row) == heads for row in rows)
        assert "<thead><tr><th></th>" not in text and "<p></p>" not in text
        assert "data-head" not in text.replace("".join(stacked), "").split("By given label")[1]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no browser to measure with")
def test_the_list_is_not_scrolled_sideways_on_a_phone(pages, tmp_path):
    for page in pages:
        found = measure(page, 400, tmp_path)
        assert found["page"][0] <= found["page"][1] <= 500
        lists = found["tables"][:2] if page.parent.name == "of-images" else found["tables"][:3]
        assert all(contents <= frame for contents, frame in lists), found


def test_what_a_review_yields_counts_the_samples_that_there_are(pages):
    for page in pages:
        assert "Expected to be wrong among the first 60" in page.read_text() and "of 100" not in page.read_text()
    of_texts, (first,) = pages[0].read_text(), read_run(pages[0].parent).summary["yield"]
    cells = re.findall("<td>(.*?)</td>", of_texts.split("What a review yields")[1])
    assert cells[:2] == ["1 to 60", f"{60 * first['expected']:.0f} of 60"] and first["expected"] > 0.05


def test_the_page_explains_its_own_words_and_no_others(pages):
    words = pages[0].read_text().split("<h2>Words</h2>")[1].split("</ul>")[0]
    assert re.findall("<b>(.*?)</b>", words) == ["Suspect", "Confidence", "Held out", "The stop", "Margin"]


@pytest.mark.parametrize(
    "rate, words, absent, lead",
    [
        (
            0.0,
            ["None of them is a suspect", "<h1>Which labels are probably wrong"],
            ["Suspects by given"],
            "Probably none of 400 labels is wrong (90%",
        ),
        (
            0.6,
            [
                "<h1>Nothing can be decided about these labels</h1>",
                "Labels of which something is decided",
                "0 of 400",
                "<summary>The ranking alone: its first 100 of 400 samples; their order may be chance<",
                "Margins along training",
                "<th>predicted</th>",
            ],
            [
                "probably wrong",
                "What to review first",
                "Suspects",
                "suspicious",
                "Estimated",
                "estimated wrong",
                "Confidence",
                "<th>confidence</th><th>",
                "Expected to be wrong",
                "What this cannot see",
                "suggested</th>",
            ],
            "Nothing can be decided about these 400 labels",
        ),
        (0.2, ["is the given label right", "Suspects by given", "What a review yields"], [], "labels are wrong ("),
    ],
)
@pytest.mark.usefixtures("sketched")
def test_what_is_asked_for_follows_from_what_was_found(tmp_path, monkeypatch, capsys, rate, words, absent, lead):
    monkeypatch.chdir(tmp_path)
    true = np.arange(400) % 2
    given = np.where(np.random.default_rng(0).random(400) < rate, 1 - true, true)
    sure = 0.9 + np.random.default_rng(1).uniform(-0.05, 0.05, 400)
    chances = np.where(true[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None])
    np.savez("once.npz", probabilities=chances, labels=given)
    assert main("audit once.npz --out out".split()) == 0
    assert ("suspects.csv; a ranking alone, whose" in capsys.readouterr().out) == (rate == 0.6)
    text = ln.write_report("out").read_text()
    assert lead in text and all(word in text for word in words) and not any(word in text for word in absent)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no browser to measure with")
def test_the_list_and_the_matrix_of_long_names_fit_1200_pixels(pages, tmp_path):
    for page in pages:
        found = measure(page, 1_200, tmp_path)
        assert len(found["tables"]) > 5 and all(contents <= frame for contents, frame in found["tables"]), found


def test_long_names_of_classes_may_break_at_their_underscores(pages):
    text = pages[0].read_text()
    broken = NAMES[0].replace("_", "_<wbr>")
    assert f'<span class="name">{broken}</span>' in text and f"<th>{broken}</th>" in text
    style = text.split("<style>")[1].split("@media")[0]
    assert "overflow-wrap: anywhere" in re.findall(r"^\.name \{(.*?)\}", style, re.MULTILINE)[0]


def test_notes_have_quotes_in_place_of_backticks():
    run = SimpleNamespace(summary={"notes": ["mixture of `logits` and `given` labels", "no `end"]})
    (table,) = _notes(run)
    assert table.rows == (("1", "mixture of “logits” and “given” labels"), ("2", "no `end"))


def test_the_number_says_how_often_its_interval_holds(pages):
    quote = pages[0].read_text().split("<dt>Estimated wrong labels</dt>")[1].split("</div>")[0]
    summary = read_run(pages[0].parent).summary
    count, low, high = (round(number) for number in (summary["wrong"], *summary["wrong_interval"]))
    said = rf"90% interval {low} to {high} \(held the true number in 91 to 100% of audits .*detection.md in the .*\)"
    assert re.search(said, quote) and f'<dd class="value">{count}</dd>' in quote and 0 < count < high


def test_stops_have_their_unit_and_so_have_those_of_all_trainings(pages):
    stops = read_run(pages[0].parent).summary["stop_epochs"]
    texts, images = (page.read_text() for page in pages)
    assert "a linear model, 6 epochs; 3 trainings" in texts
    assert len(stops) == 3 and f"; of the trainings in turn: epochs {', '.join(map(str, stops))}</td>" in texts
    different = sorted(set(stops))
    unit = "epochs" if len(different) > 1 else "epoch"
    quote = '<dt>The stop</dt><dd class="value">{}</dd>'
    assert quote.format(f"{unit} {', '.join(map(str, different))}") in texts
    (stop,) = read_run(pages[1].parent).summary["stop_epochs"]
    assert quote.format(f"epoch {stop}") in images and "in turn" not in images


def test_it_is_said_that_no_chance_is_larger_where_several_samples_have_the_largest(pages):
    for page in pages:
        rows = read_json(page.parent / "worst.json")["rows"]
        words = "No chance above 95% is given; of the samples that have it the first are the surest."
        assert (words in page.read_text()) == (sum(row["confidence"] == 0.95 for row in rows) > 1)
    assert ["No chance above" in page.read_text() for page in pages] == [True, False]
    chances = ([0.95, 0.95, 0.2], [0.95, 0.94])
    said = [_alike([{"confidence": chance} for chance in part]) for part in chances]
    assert said[0] and not said[1]


def test_numbers_are_cut_to_six_digits_and_what_stands_before_the_point():
    values = (-2.3961877973, 0.00012345678, 1234567.51, 2.0, 0.0, 12, "0.123456789", np.float32(0.1), np.inf, np.nan)
    shown = ["-2.39619", "0.000123457", "1234568.0", "2.0", "0.0", "12", "0.123456789", "0.1", "inf", ""]
    assert [_written(value) for value in values] == shown


def test_a_ranking_alone_shows_no_neighbours_whose_labels_it_would_count(tmp_path):
    row = {"index": 4, "given": "a", "suggested": "b", "confidence": None, "flagged": False, "fields": [["x", "1"]]}
    (tmp_path / "worst.json").write_text(json.dumps({"rows": [{**row, "neighbours": {}}]}))
    run = SimpleNamespace(path=tmp_path, summary={"samples": 9}, verify=lambda *_: None)
    (table,) = ranking_tables(run)
    assert table.head == ("index", "given", "predicted", "sample") and table.rows[0][0] == "4"
    assert len(table.rows[0]) == 4
