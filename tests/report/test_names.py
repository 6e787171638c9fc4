"""The name of a folder on its page: any name that a file system takes, and that of the folder one is in."""

import os
from dataclasses import replace

import pandas as pd
import pytest

from labelnoise.report.page import _write_page, write_report
from labelnoise.runs.pages import Page, Panel, Section
from labelnoise.runs.reading import read_run
from labelnoise.training.attribution import read_attribution
from labelnoise.training.attribution_figures import attribution_figure
from test_figures import craft
from test_report import RELEASED, craft_attribution

ODD = os.fsdecode("a$_$ 実験 ".encode() + b"\xff")
"""What is no formula, letters that the figures' font lacks, and a byte that is no UTF-8."""


def test_a_folder_of_any_name_has_a_page(tmp_path):
    craft(tmp_path / ODD)
    page = write_report(tmp_path / ODD).read_text("utf-8")
    assert "<h2>a$_$ 実験 \\xff</h2>" in page


def test_text_that_is_no_utf_8_is_written_by_its_numbers(tmp_path):
    panel = Panel("one", pd.DataFrame(), pd.DataFrame())
    page = _write_page(tmp_path, [Section("", "a\udcff", "", Page(), (panel,))])
    assert "<h2>a\\udcff</h2>" in page.read_text("utf-8")


@pytest.mark.usefixtures("sketched")
def test_a_released_table_in_a_folder_of_any_name_has_a_page(tmp_path):
    (tmp_path / ODD).mkdir()
    RELEASED.to_csv(tmp_path / ODD / "train.csv")
    assert "実験 \\xff/train.csv</h2>" in write_report(tmp_path / ODD).read_text("utf-8")


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(("inside", "path"), [(".", "."), ("figures", "..")])
def test_the_folder_that_one_is_in_has_its_own_name(inside, path, tmp_path, monkeypatch):
    craft(tmp_path / "mine")
    (tmp_path / "mine/figures").mkdir()
    monkeypatch.chdir(tmp_path / "mine" / inside)
    assert read_run(path).name == "mine"
    page = write_report(path).read_text()
    assert "<h2>mine</h2>" in page and "<summary>mine</summary>" in page


def test_a_class_of_any_name_stands_below_its_picture(tmp_path):
    craft(tmp_path)
    craft_attribution(tmp_path)
    run = read_run(tmp_path)
    named = replace(run, summary={**run.summary, "class_names": ["a$_$", "b", "c"]})
    figure = attribution_figure(named, read_attribution(tmp_path))
    figure.draw_without_rendering()
    assert figure.axes[0].get_xlabel() == "clean: a$_$"
