"""The report: made from run directories alone, whole in one file, with the numbers of the summaries."""

import json
import re
from html.parser import HTMLParser

import pytest

from labelnoise.errors import InputError
from labelnoise.noise import ClassConditional
from labelnoise.problem import SignalNoise
from labelnoise.report import write_report
from labelnoise.runs import run_experiment
from labelnoise.simulate_run import SimulateRun
from labelnoise.simulation import Schedule
from labelnoise.train import TrainConfig
from labelnoise.train_run import TrainRun

SIMULATE = SimulateRun(
    SignalNoise(n=60, d=1_200, m=4, mu_norm=16.0), Schedule(lr=0.01, steps=400, test_draws=50), (0, 1), n_holdout=40
)


class Page(HTMLParser):
    """Tags that are opened and closed, addresses, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(path):
    page = Page(write_report(path).read_text())
    assert page.open == []
    return page


def test_a_simulation_has_figure_stops_claims_and_settings(tmp_path):
    run_experiment(SIMULATE, tmp_path / "a")
    page = page_of(tmp_path / "a")
    assert len(page.addresses) == 1 and page.addresses[0].startswith("data:image/svg+xml;base64,")  # opens offline
    for name in ("curves.png", "curves.svg"):
        assert (tmp_path / "a/figures" / name).stat().st_size > 10_000
    summary = json.loads((tmp_path / "a/summary.json").read_text())
    for check in summary["checks"]:
        assert check["claim"] in page.text
    at = [stop["at"] for stop in summary["stops"] if stop["rule"] == "oracle"]
    assert f"{sum(at) / 2:.0f} [{min(at)}, {max(at)}]" in page.text
    assert "seen-noise error" in page.text and '"mu_norm": 16.0' in page.text


def test_no_error_among_the_draws_is_shown_as_a_bound(tmp_path):
    run_experiment(SIMULATE, tmp_path / "a")
    assert "< 0.06" in page_of(tmp_path / "a").text  # 3 / 50 draws


def test_the_same_run_gives_the_same_page(tmp_path):
    run_experiment(SIMULATE, tmp_path / "a")
    first = write_report(tmp_path / "a").read_bytes()
    assert write_report(tmp_path / "a").read_bytes() == first


def test_a_run_without_label_noise_says_why_there_is_no_stage_one(tmp_path):
    clean = SimulateRun(
        SignalNoise(n=40, d=900, m=4, mu_norm=14.0, label_noise=ClassConditional(0, 0)),
        Schedule(lr=0.01, steps=50, test_draws=20), (0,), n_holdout=0,
    )  # fmt: skip
    run_experiment(clean, tmp_path / "a")
    text = page_of(tmp_path / "a").text
    assert "there are no noisy samples" in text and "noisy samples (given label)" not in text


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("lr", "status"), [(0.02, None), (1e20, "the loss is not finite")])
def test_a_training_run_has_a_page_even_if_it_diverged(lr, status, tmp_path):
    config = TrainRun(classes=(3, 8), training=TrainConfig(epochs=3, lr=lr, device="cpu"))
    run_experiment(config, tmp_path / "a")
    text = page_of(tmp_path / "a").text
    assert (status or "test accuracy") in text and "The paper's claims" not in text


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no run"):
        write_report(tmp_path)
    run_experiment(SIMULATE, tmp_path / "a")
    (tmp_path / "a/summary.json").unlink()
    with pytest.raises(InputError, match="has not finished"):
        write_report(tmp_path / "a")


def test_a_stop_is_marked_only_where_the_held_out_rule_saw_a_fall():
    from matplotlib.figure import Figure

    from labelnoise.figures import Column, _mark_stages
    from labelnoise.runs import RunRecord

    stops = [
        {"rule": "oracle", "seed": 0, "at": 7, "reason": ""},
        {"rule": "held_out", "seed": 0, "at": 20, "reason": "", "falls": True},
        {"rule": "held_out", "seed": 1, "at": 90, "reason": "", "falls": False},
    ]
    run = RunRecord(None, "simulate", {}, {}, None, {"stops": stops})
    axis = Figure().add_subplot()
    _mark_stages(axis, Column("a", (run,)), labelled=True)
    assert [line.get_xdata()[0] for line in axis.lines] == [7, 20]


def test_a_damaged_summary_is_refused(tmp_path):
    run_experiment(SIMULATE, tmp_path / "a")
    (tmp_path / "a/summary.json").write_text('{"status": "ok"}')
    with pytest.raises(InputError, match="or a damaged one"):
        write_report(tmp_path / "a")
