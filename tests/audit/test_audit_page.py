"""The list of suspects on a narrow screen: a row is a card, and nothing is scrolled sideways."""

import re

import numpy as np
import pandas as pd
import pytest

import labelnoise as ln
from browser import BROWSER, measure
from labelnoise.audit import recording
from labelnoise.audit.experiment import AuditRun
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
        patch.setattr(recording, "EPOCHS", 2)
        patch.setattr("labelnoise.report.page._draw", lambda *picture: UNDRAWN)
        texts = AuditRun(data=str(folder / "texts.csv"), label="label", text="text", folds=2)
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
        assert "data-head" not in text.replace("".join(stacked), "").split("What a review yields")[1]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no browser to measure with")
def test_the_list_is_not_scrolled_sideways_on_a_phone(pages, tmp_path):
    for page in pages:
        found = measure(page, 400, tmp_path)
        assert found["page"][0] <= found["page"][1] <= 500
        lists = found["tables"][:2] if page.parent.name == "of-images" else found["tables"][:3]
        assert all(contents <= frame for contents, frame in lists), found
