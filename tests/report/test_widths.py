"""The tables of a page fit 1,200 pixels, with the widest numbers that they can hold."""

import numpy as np
import pytest

from browser import BROWSER, measure
from labelnoise.report.page import write_report
from labelnoise.report.tables import stops_table
from labelnoise.runs.folders import RunFolder, run_experiment
from labelnoise.runs.kinds import all_kinds
from labelnoise.runs.pages import Section, panel_of
from labelnoise.runs.reading import read_run
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from test_figures import craft
from test_quotes import UNDRAWN, write_altered

CONTENT = 1_200 - 15 - 2 * 24
"""Pixels between the margins of the page and beside the bar that scrolls it."""
CHARACTER, GAP, WORDS = 6.5, 11.2, 176
"""Pixels of a digit of the small print (of a wide font), between columns, and of the names."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Setting (b) of the report, small, with every number of its stops as wide as it can be, beside training runs."""
    path = tmp_path_factory.mktemp("wide") / "all"
    problem = SignalNoise(n=40, d=80, m=2, mu_norm=4.0, init_std=0.01)
    run_experiment(SimulateRun(problem, SimulateConfig(lr=0.3, steps=40, test_draws=20), (0, 1)), path / "made")
    write_altered(read_run(path / "made"), path / "b", stretch)
    for seed in (0, 1):
        craft(path / f"digits{seed}", seed)
    groups = [
        {"name": name, "title": name, "text": "", "columns": [{"title": "labels flipped", "runs": runs}] * 2}
        for name, runs in (("b", ["b"]), ("digits", ["digits0", "digits1"]))
    ]
    config = {"command": "reproduce", "settings": {}, "versions": {}, "git_commit": None}
    folder = RunFolder(path, False, config)
    folder.begin()
    folder.finish({"status": "ok", "text": "", "groups": groups})
    return path


def stretch(summary):
    """Give the two seeds numbers that differ everywhere, and gains that are negative."""
    for row in summary["stops"]:
        row["at"] = 1_000 + row["seed"]
        numbers = (name for name in row if name.startswith(("test", "accuracy", "selection", "gain")))
        row.update({name: (0.123 + 0.5 * row["seed"]) * (-1) ** name.startswith("gain") for name in numbers})


def test_the_numbers_of_the_stops_fit_unbroken(wide):
    """Counted in characters, so that it is seen where there is no browser: a column more would not fit."""
    run = read_run(wide / "b")
    table = stops_table(Section("", "", "", all_kinds()["simulate"].page(), (panel_of("b", [run]),)))
    longest = np.zeros(len(table.head) - 1)
    for row in table.rows:
        pieces = [(cell.text, *cell.notes) if hasattr(cell, "notes") else (cell,) for cell in row[1:]]
        longest = np.maximum(longest, [max(map(len, texts)) for texts in pieces])
    assert longest.max() >= len("[0.123, 0.623]") and all(cell.mark == "number" for cell in table.rows[0][1:])
    assert WORDS + CHARACTER * longest.sum() + GAP * len(table.head) < CONTENT


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no browser to measure with")
def test_every_table_fits_1200_pixels_and_no_page_is_wider_than_a_phone(wide, tmp_path, monkeypatch):
    monkeypatch.setattr("labelnoise.report.page._draw", lambda *picture: UNDRAWN)
    page = write_report(wide)
    found = measure(page, 1_200, tmp_path)
    assert len(found["tables"]) == 5  # stops twice, stages, conditions, claims; all of them open
    assert all(contents <= frame <= CONTENT + 15 for contents, frame in found["tables"]), found
    phone = measure(page, 400, tmp_path)  # tables scroll in their frames, the page does not
    assert phone["page"][0] <= phone["page"][1] <= 500 and phone["tables"][0][0] > phone["tables"][0][1]
