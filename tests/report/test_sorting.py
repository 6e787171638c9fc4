"""A click on a heading sorts the rows of a table, by numbers where it holds numbers."""

import pandas as pd
import pytest

from browser import BROWSER, evaluate
from labelnoise.report.page import _write_page
from labelnoise.runs.pages import Cell, Page, Panel, Section, Table

COLUMNS = {
    "id": ["2024-03-01", "2024-01-05", "2023-12-31", "2024-01-04"],
    "index": ["10", "9", "1,000", "-2"],
    "confidence": ["95%", "< 1%", "9%", "30%"],
    "file": ["a10.png", "a9.png", "b.png", "a10b.png"],
    "ticket": ["3-B", "3-A", "", "10-A"],
}
SORTED = {
    "id": ["2023-12-31", "2024-01-04", "2024-01-05", "2024-03-01"],
    "index": ["-2", "9", "10", "1,000"],
    "confidence": ["< 1%", "9%", "30%", "95%"],
    "file": ["a9.png", "a10.png", "a10b.png", "b.png"],
    "ticket": ["", "3-A", "3-B", "10-A"],
}
CLICK = """
const heads = [...document.querySelectorAll("table.sortable thead th")];
const column = at => [...document.querySelectorAll("table.sortable tbody tr")].map(row => row.cells[at].textContent);
return heads.map((head, at) => [0, 1].map(() => { head.click(); return column(at); }));
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no browser to click in")
def test_a_click_on_a_heading_sorts_and_another_one_reverses(tmp_path):
    rows = tuple(tuple(map(Cell, row)) for row in zip(*COLUMNS.values(), strict=True))
    table = Table("Suspects", tuple(COLUMNS), rows, sortable=True)
    page = Page(section_tables=lambda panels: [table])
    path = _write_page(tmp_path, [Section("", "One", "", page, (Panel("one", pd.DataFrame(), pd.DataFrame()),))])
    for (up, down), expected in zip(evaluate(path, CLICK, tmp_path), SORTED.values(), strict=True):
        assert (up, down) == (expected, expected[::-1])
