"""The numbers at the top of a page: five, of the summary, whatever the run holds."""

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest

from labelnoise.noise.models import ClassConditional
from labelnoise.report.page import _quotes, write_report
from labelnoise.report.tables import averages, spread, stops_table
from labelnoise.runs.folders import RunFolder, run_experiment
from labelnoise.runs.pages import Page, Panel, Quote, Section, panel_of
from labelnoise.runs.reading import read_run
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun
from test_figures import craft
from test_report import CONFIG, RELEASED

SIMULATE = SimulateRun(
    SignalNoise(n=60, d=1_200, m=4, mu_norm=16.0), SimulateConfig(lr=0.01, steps=400, test_draws=50), (0, 1, 2)
)


UNDRAWN = {"title": "", "text": "", "address": "data:,", "alt": "", "width": "60"}
"""What stands for each picture: to draw it takes longer than all the rest."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("labelnoise.report.page._draw", lambda *picture: UNDRAWN)


def quotes(path):
    """Label -> (value, small print below it), in the order of the page."""
    page = write_report(path).read_text()
    top = page.split('<dl class="quotes">')[1].split("</dl>")[0]
    assert page.index('<dl class="quotes">') < page.index("<h2>")
    found = {}
    for block in re.findall(r"<div>(.*?)</div>", top):
        label, value, *small = [unescape(words).replace("\xa0", " ") for words in re.findall(r">([^<>]+)</d", block)]
        found[label] = (value, " | ".join(small))
    assert len(found) == len(re.findall("<dt>", top)) == 5
    return found


def at(summary, rule, name):
    return np.array([row[name] for row in summary["stops"] if row["rule"] == rule and row["at"] is not None], float)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "a"
    run_experiment(SIMULATE, path)
    return path


def test_the_five_of_a_simulation_are_those_of_its_summary(simulated):
    found, summary = quotes(simulated), json.loads((simulated / "summary.json").read_text())
    t1 = at(summary, "oracle", "at")
    assert found["T1, where Stage I ends"] == (
        f"step {t1.mean():.0f}", f"mean of 3 seeds, range [{t1.min():.0f}, {t1.max():.0f}]"
    )  # fmt: skip
    value, small = found["Test error at T1 and at the end"]
    end = at(summary, "last", "test_error_seen")
    assert value == f"{at(summary, 'oracle', 'test_error_seen').mean():.1%} → {end.mean():.1%}"
    assert f"[{end.min():.1%}, {end.max():.1%}]" in small and end.mean() > 0
    verdicts = [check["verdict"] for check in summary["checks"]]
    holds, fails = (verdicts.count(verdict) for verdict in ("holds", "fails"))
    value, small = found["Claims of the paper that hold"]
    assert value == f"{holds} of {holds + fails}" and f"{len(verdicts) - holds - fails} more" in small
    recall, precision = (at(summary, "oracle", f"selection_{name}").mean() for name in ("recall", "precision"))
    value, _ = found["Wrong labels a negative margin finds at T1"]
    assert value == f"{recall:.1%} found, {precision:.1%} right"
    first, last = np.array([stage["window"] for stage in summary["stages"]]).T
    value, small = found["Window of Stage I"]
    assert value == f"steps {first.mean():.0f} to {last.mean():.0f}"
    assert f"[{last.min()}, {last.max()}]" in small


def write_altered(run, path, change):
    """Write the folder of a run once more, its summary changed."""
    summary = json.loads(json.dumps(run.summary))
    change(summary)
    config = {"command": run.command, "settings": run.settings, "versions": {}, "git_commit": None}
    folder = RunFolder(path, False, config)
    folder.begin()
    folder.write_history(run.history)
    folder.finish(summary)


def lose_t1_of_seed_1(summary):
    for row in summary["stops"]:
        if row["seed"] == 1 and row["rule"] == "oracle":
            row.update(at=None, reason="no step separates", test_error_seen=None)
        if row["seed"] == 1 and row["rule"] == "last":
            row["test_error_seen"] = 0.9
    summary["stages"][1].update(window=None, t1=None)


def test_a_seed_without_stage_one_is_counted_and_its_error_left_out(simulated, tmp_path):
    write_altered(read_run(simulated), tmp_path / "a", lose_t1_of_seed_1)
    found = quotes(tmp_path / "a")
    assert "mean of 2 seeds" in found["T1, where Stage I ends"][1]
    assert found["T1, where Stage I ends"][1].endswith("1 of 3 seeds have no Stage I")
    assert "90" not in found["Test error at T1 and at the end"][1]


def test_a_simulation_without_noise_has_five_others(tmp_path):
    problem = SignalNoise(n=40, d=900, m=4, mu_norm=14.0, label_noise=ClassConditional(0, 0))
    run_experiment(SimulateRun(problem, SimulateConfig(lr=0.01, steps=50, test_draws=0), (0,)), tmp_path / "a")
    found, history = quotes(tmp_path / "a"), read_run(tmp_path / "a").history
    assert found["Test error at T1 and at the end"][0] == f"{history['test_error_seen'].iloc[-1]:.1%} at the end"
    assert found["Held-out accuracy at the end"][0] == f"{history['held_out_accuracy'].iloc[-1]:.1%}"
    assert found["Largest signal coefficient at the end"][0] == f"{history['gamma_max'].iloc[-1]:.2f}"
    unknown = {label: small for label, (value, small) in found.items() if value == "–"}
    assert set(unknown) <= {"T1, where Stage I ends", "Convergence"} and len(unknown) <= 1


def test_the_five_of_a_training_run_are_those_of_its_summary(tmp_path):
    craft(tmp_path / "a")
    found, summary = quotes(tmp_path / "a"), json.loads((tmp_path / "a/summary.json").read_text())
    stop, end = (next(row for row in summary["stops"] if row["rule"] == rule) for rule in ("held_out", "last"))
    value, small = found["Test accuracy at the stop and at the end"]
    assert value == f"{stop['test_accuracy']:.1%} → {end['test_accuracy']:.1%}"
    assert "a fall is seen in 1 of 1" in small and "one seed" in small
    assert found["Wrong labels a negative margin finds at the stop"][0] == (
        f"{stop['selection_recall']:.1%} found, {stop['selection_precision']:.1%} right"
    )
    assert found["Wrong labels memorised at the end"][0] == f"{end['train_accuracy_noisy']:.1%}"
    assert found["The stop"][0] == "epoch 4 of 20" and "T1 is 7" in found["The stop"][1]
    history = read_run(tmp_path / "a").history
    best = history.loc[history["test_accuracy"].idxmax()]
    assert found["Best test accuracy"][0] == f"{best['test_accuracy']:.1%}"
    assert f"at epoch {best['epoch']:.0f}" in found["Best test accuracy"][1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("options", [{"noise": "none"}, {"lr": 1e20}, {"held_out": 0.0}, {"noise": "none", "lr": 1e20}])
def test_a_training_run_that_lacks_something_still_has_five(options, tmp_path):
    noise = options.pop("noise", "symmetric:0.2")
    training = TrainConfig(epochs=2, device="cpu", **options)
    run_experiment(TrainRun(classes=(3, 8), noise=noise, training=training), tmp_path / "a")
    found = quotes(tmp_path / "a")
    known = [value for value, _ in found.values() if value != "–"]
    assert len(known) == (0 if training.lr == 1e20 else 5)
    assert "nan" not in str(found)
    if not training.held_out:
        assert found["The stop"][1].startswith("T1, truth known")


def test_a_released_table_has_what_it_holds(tmp_path):
    RELEASED.to_csv(tmp_path / "train.csv")
    found = quotes(tmp_path)
    assert found["Test accuracy at the stop and at the end"][0] == "88.0% → 75.0%"
    assert "a gain of 13.0 points" in found["Test accuracy at the stop and at the end"][1]
    assert found["Wrong labels memorised at the end"] == ("98.0%", "5.0% at the stop; one seed")
    assert found["The stop"] == ("epoch 2 of 9", "T1, truth known; one seed")
    assert found["Best test accuracy"][0] == "91.0%"
    assert found["Training samples fitted at the end"][0] == "99.0%"


def test_sections_share_the_five_and_say_of_which_they_are(tmp_path, simulated):
    for seed in (0, 1):
        craft(tmp_path / f"all/digits{seed}", seed)
    for name in ("model", "other"):
        (tmp_path / "all" / name).symlink_to(simulated)
    groups = [
        {"name": name, "title": f"On {name}: see", "text": "", "columns": [{"title": "one", "runs": runs}]}
        for name, runs in (("digits", ["digits0", "digits1"]), ("model", ["model"]), ("other", ["other"]))
    ]
    folder = RunFolder(tmp_path / "all", False, {**CONFIG, "command": "reproduce"})
    folder.begin()
    folder.finish({"status": "ok", "text": "The lead.", "groups": groups})
    found = quotes(tmp_path / "all")
    assert [(label, small.split(" | ")[-1]) for label, (_, small) in found.items()] == [
        ("Test accuracy at the stop and at the end", "On digits, one"),
        ("Wrong labels a negative margin finds at the stop", "On digits, one"),
        ("Wrong labels memorised at the end", "On digits, one"),
        ("T1, where Stage I ends", "On model, one"),
        ("Test error at T1 and at the end", "On other, one"),
    ]
    assert "mean of 2 seeds" in found["Wrong labels memorised at the end"][1]


def page_of(labels):
    return Page(quotes=lambda panel: [Quote(label, panel.title, "") for label in labels])


def test_no_label_comes_twice():
    sections = [
        Section("", name, "", page_of(labels), (Panel(name, pd.DataFrame(), pd.DataFrame()),))
        for name, labels in (("first", "ab"), ("second", "ac"))
    ]
    found = [(quote["label"], quote["value"], quote["where"]) for quote in _quotes(sections)]
    assert found == [("a", "first", "first, first"), ("b", "first", "first, first"), ("c", "second", "second, second")]


def test_means_and_ranges_by_hand():
    values = pd.Series([0.2, np.nan, 0.4])
    assert spread(values, ".1%") == ("30.0%", "[20.0%, 40.0%]")
    assert spread(pd.Series([-1e-9, -1e-9])) == ("0.000", "") and spread(pd.Series([np.nan])) == ("–", "")
    means, words = averages([values, pd.Series([1.0, 1.0])], ".1f")
    assert (means, words.replace("\xa0", " ")) == (["0.3", "1.0"], "mean of 2 seeds, range [0.2, 0.4] and 1.0")
    assert averages([pd.Series([0.5])], ".3f") == (["0.500"], "one seed")


def test_the_reason_of_a_stop_names_its_seed_where_there_are_several(simulated, tmp_path):
    run_experiment(replace(SIMULATE, seeds=(2,)), tmp_path / "a")
    for path, lead in ((simulated, "seed 0: "), (tmp_path / "a", "")):
        run = read_run(path)
        rows = stops_table(Section("", "", "", run.kind.page(), (panel_of("", [run]),))).rows
        (notes,) = [row[0].notes for row in rows if row[0].text.startswith("held-out stop")]
        reason = next(row["reason"] for row in run.summary["stops"] if row["rule"] == "held_out")
        assert lead + reason in notes
