"""The report: made from run directories alone, whole in one file, with the numbers of the summaries."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional
from labelnoise.report.page import write_report
from labelnoise.runs.files import write_json
from labelnoise.runs.folders import RunFolder, run_experiment
from labelnoise.runs.reading import read_run
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training.attribution import Attribution, write_attribution
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.figures import training_figure
from labelnoise.training.released import read_released
from test_figures import craft, line, names

SIMULATE = SimulateRun(
    SignalNoise(n=60, d=1_200, m=4, mu_norm=16.0),
    SimulateConfig(lr=0.01, steps=400, test_draws=50),
    (0, 1),
    n_holdout=40,
)


CONFIG = {"command": "train", "settings": {}, "versions": {}, "git_commit": None}
RELEASED = pd.DataFrame({
    "train_loss": [2.0, 1.1, 0.9, 0.1],
    "train_acc": [0.31, 0.72, 0.78, 0.99],
    "train_acc_flip": [0.1, 0.05, 0.3, 0.98],
    "train_acc_clean": [0.4, 0.9, 0.95, 1.0],
    "test_loss": [2.1, 0.6, 0.5, 1.4],
    "test_acc": [0.35, 0.88, 0.91, 0.75],
    "epoch": [0, 2, 5, 9],
})  # fmt: skip
"""A train.csv of the paper's released code; T1 is epoch 2: (0.9 + 1 - 0.05) / 2."""


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


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A run of SIMULATE; who changes it takes a copy."""
    return run_experiment(SIMULATE, tmp_path_factory.mktemp("simulated") / "a").path


@pytest.fixture
def copied(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "a")


def page_of(path):
    page = Page(write_report(path).read_text())
    assert page.open == []
    return page


def test_a_simulation_has_figure_stops_claims_and_settings(copied):
    page = page_of(copied)
    assert len(page.addresses) == 1 and page.addresses[0].startswith("data:image/svg+xml;base64,")  # opens offline
    for name in ("curves.png", "curves.svg"):
        assert (copied / "figures" / name).stat().st_size > 10_000
    summary = json.loads((copied / "summary.json").read_text())
    for check in summary["checks"]:
        assert check["claim"] in page.text
    at = [stop["at"] for stop in summary["stops"] if stop["rule"] == "oracle"]
    assert f"{sum(at) / 2:.0f} [{min(at)}, {max(at)}]" in page.text
    assert "seen-noise error" in page.text and '"mu_norm": 16.0' in page.text


@pytest.mark.usefixtures("sketched")
def test_no_error_among_the_draws_is_shown_as_a_bound(copied):
    assert "< 0.06" in page_of(copied).text  # 3 / 50 draws


@pytest.mark.slow
def test_the_same_run_gives_the_same_page(copied):
    first = write_report(copied).read_bytes()
    assert write_report(copied).read_bytes() == first


@pytest.mark.usefixtures("sketched")
def test_a_run_without_label_noise_says_why_there_is_no_stage_one(tmp_path):
    clean = SimulateRun(
        SignalNoise(n=40, d=900, m=4, mu_norm=14.0, label_noise=ClassConditional(0, 0)),
        SimulateConfig(lr=0.01, steps=50, test_draws=20), (0,), n_holdout=0,
    )  # fmt: skip
    run_experiment(clean, tmp_path / "a")
    text = page_of(tmp_path / "a").text
    assert "there are no noisy samples" in text and "noisy samples (given label)" not in text


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("lr", "status"), [pytest.param(0.02, None, marks=pytest.mark.slow), (1e20, "the loss is not finite")]
)
def test_a_training_run_has_a_page_even_if_it_diverged(lr, status, tmp_path):
    config = TrainRun(classes=(3, 8), training=TrainConfig(epochs=3, lr=lr, device="cpu"))
    run_experiment(config, tmp_path / "a")
    page = page_of(tmp_path / "a")
    assert (status or "test accuracy") in page.text and "The paper's claims" not in page.text
    assert len(page.addresses) == 2 and "Margins What to look for" in page.text
    assert {file.name for file in (tmp_path / "a/figures").iterdir()} == {
        "curves.png", "curves.svg", "margins.png", "margins.svg"
    }  # fmt: skip
    with np.load(tmp_path / "a/samples.npz") as samples:
        for name in (*read_run(tmp_path / "a").history, *samples):
            assert re.search(rf"\b{name}\b", page.text), name  # each is explained


def craft_attribution(path):
    """The attribution of a crafted run: one clean and one noisy sample at epochs 4 and 20."""
    values = np.arange(2 * 2 * 1 * 4 * 4, dtype=np.float32).reshape(2, 2, 1, 4, 4)
    similarity = np.array([[0.9, 0.8], [0.7, -0.2]])
    attribution = Attribution(
        facts={"stops": {"oracle": 4, "last": 20}, "text": "The sums miss by 0.25."},
        sample=np.array([3, 5]), reference=np.array([1]), background=np.array([1]),
        y_true=np.array([0, 2]), y_given=np.array([0, 1]),
        image=np.full((2, 1, 4, 4), 9, dtype=np.uint8),
        epoch=np.array([4, 20]), logits=np.ones((2, 2, 3), dtype=np.float32),
        similarity_true=similarity, similarity_given=similarity,
        shown_epoch=np.array([4, 20]), toward_true=values, toward_given=-values,
    )  # fmt: skip
    write_attribution(path, attribution)


@pytest.mark.usefixtures("sketched")
def test_attribution_stands_below_the_stops_where_a_run_holds_it(tmp_path):
    craft(tmp_path / "a")
    craft_attribution(tmp_path / "a")
    page = page_of(tmp_path / "a")
    assert {file.stem for file in (tmp_path / "a/figures").iterdir()} == {
        "curves", "margins", "attribution", "similarity"
    }  # fmt: skip
    assert len(page.addresses) == 4 and "Of a: The sums miss by 0.25." in page.text
    assert page.text.index("Where to stop") < page.text.index("Attribution") < page.text.index("Words")


@pytest.mark.slow
def test_a_page_needs_no_torch(tmp_path):
    craft(tmp_path / "a")
    craft_attribution(tmp_path / "a")
    code = (
        "import sys; from pathlib import Path; from matplotlib.figure import Figure; "
        "from labelnoise.report.page import write_report; "
        "Figure.savefig = lambda figure, file, **options: file.write(b'drawn'); "
        f"write_report(Path({str(tmp_path / 'a')!r})); print([m for m in ('torch', 'shap') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.usefixtures("sketched")
def test_the_sections_of_reproduce_have_their_pictures(simulated, tmp_path):
    for seed in (0, 1):
        craft(tmp_path / f"all/digits{seed}", seed)
    shutil.copytree(simulated, tmp_path / "all/model")
    columns = {"digits": ["digits0", "digits1"], "model": ["model"]}
    groups = [
        {"name": name, "title": f"On {name}", "text": f"See {name}.", "columns": [{"title": "one", "runs": runs}]}
        for name, runs in columns.items()
    ]
    folder = RunFolder(tmp_path / "all", False, {**CONFIG, "command": "reproduce"})
    folder.begin()
    folder.finish({"status": "ok", "text": "The lead.", "groups": groups})
    page = page_of(tmp_path / "all")
    assert {file.name for file in (tmp_path / "all/figures").glob("*.png")} == {
        "digits-curves.png", "digits-margins.png", "model-curves.png"
    }  # fmt: skip
    assert len(page.addresses) == 3 and "One run a column: digits0." in page.text
    assert page.text.index("The lead.") < page.text.index("See digits.") < page.text.index("Margins What")
    assert page.text.index("Margins What") < page.text.index("See model.")


def test_a_folder_without_a_finished_run_is_refused(copied, tmp_path):
    with pytest.raises(InputError, match="is no run"):
        write_report(tmp_path)
    (copied / "summary.json").unlink()
    with pytest.raises(InputError, match="has not finished"):
        write_report(copied)


def test_a_damaged_summary_is_refused(copied):
    (copied / "summary.json").write_text('{"status": "ok"}')
    with pytest.raises(InputError, match="was changed or is damaged"):
        write_report(copied)
    write_json(copied / "summary.json", {"status": "ok"})  # whole, but not what such a run holds
    with pytest.raises(InputError, match="or a damaged one"):
        write_report(copied)


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.usefixtures("sketched")
def test_a_released_table_is_drawn_in_percent_or_in_shares(scale, tmp_path):
    table = RELEASED.copy()
    table[[name for name in table if "acc" in name]] *= scale
    table.to_csv(tmp_path / "train.csv")  # with an unnamed column of row numbers
    column = read_released(tmp_path / "train.csv")
    loss, accuracy = training_figure([column]).axes
    for axis, label, name in (
        (loss, "training samples", "train_loss"),
        (loss, "test samples", "test_loss"),
        (accuracy, "training samples", "train_acc"),
        (accuracy, "clean samples", "train_acc_clean"),
        (accuracy, "noisy samples", "train_acc_flip"),
        (accuracy, "test samples", "test_acc"),
    ):
        x, y = line(axis, label)
        assert x.tolist() == [0, 2, 5, 9]
        assert_close(y, RELEASED[name].to_numpy())
    assert line(loss, "T1")[0].tolist() == [2, 2]
    text = page_of(tmp_path).text
    assert "T1 (truth known) 2 0.880 gain 0.130 0.900 0.050" in text and "the end 9 0.750 1.000" in text
    assert (tmp_path / "report.html").is_file()
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {"curves.png", "curves.svg"}


def test_a_released_table_may_be_named_itself_and_may_lack_noisy_samples(tmp_path):
    RELEASED.assign(train_acc_flip=np.nan).to_csv(tmp_path / "other.csv", index=False)
    assert write_report(tmp_path / "other.csv") == tmp_path / "report.html"
    page = page_of(tmp_path / "other.csv")
    assert len(page.addresses) == 1 and "there are no noisy samples" in page.text
    figure = training_figure([read_released(tmp_path / "other.csv")])
    assert names(figure.axes[1]) == ["training samples", "clean samples", "test samples"]


def test_a_separator_at_the_end_of_each_line_moves_no_column(tmp_path):
    head, *rows = RELEASED.to_csv(index=False).split()
    (tmp_path / "train.csv").write_text("\n".join([head, *(f"{row}," for row in rows)]))
    shown = read_released(tmp_path / "train.csv").history
    assert_close(shown[["epoch", "test_accuracy"]].to_numpy(), RELEASED[["epoch", "test_acc"]].to_numpy(float))


@pytest.mark.usefixtures("sketched")
def test_a_run_that_holds_a_train_csv_is_shown_as_a_run(tmp_path):
    craft(tmp_path / "a")
    RELEASED.to_csv(tmp_path / "a/train.csv")
    assert "Margins" in page_of(tmp_path / "a").text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"train\.csv is no table \(No columns to parse from file\)"),
        (b"\xff\xfe\x00", r"train\.csv is no table"),
        ("a,b\n1,2,3\n1,2,3,4\n", r"train\.csv is no table"),
        (RELEASED.head(0).to_csv(), "holds no epoch"),
        (RELEASED.drop(columns=["test_acc", "epoch"]).to_csv(), "has no column epoch, test_acc;"),
        (RELEASED.replace({"test_acc": {0.91: "good"}}).to_csv(), r"`test_acc` in .* numbers, got 'good' in row 3"),
        (RELEASED.assign(epoch=[0, np.nan, 5, 9]).to_csv(), r"`epoch` in .* numbers, got 'nan' in row 2"),
        (RELEASED.assign(test_acc=[35, 88, 191, 75]).to_csv(), "`test_acc` in .* between 0 and 1"),
        (RELEASED.assign(train_acc=[0.3, -0.1, 0.5, 0.6]).to_csv(), "`train_acc` in .* between 0 and 1"),
    ],
)
def test_a_table_that_is_not_the_released_codes_is_refused_in_one_sentence(content, message, tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=message) as refusal:
        write_report(path)
    assert "\n" not in str(refusal.value) and ";" in str(refusal.value)
    assert list(tmp_path.iterdir()) == [path]  # nothing was written
