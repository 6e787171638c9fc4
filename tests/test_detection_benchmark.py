"""The harness of detection: metrics against plain ones, anchors, data, files; and one run of all of it."""

import importlib
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, rankdata
from sklearn.metrics import average_precision_score, f1_score

import labelnoise as ln
from helpers import assert_close
from labelnoise.audit.contradiction import wilson
from labelnoise.audit.judging import judge
from labelnoise.audit.recorded import read_training

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = ("sources", "learners", "records", "seen", "methods", "peers", "grid", "score", "tables", "run")
NAMES += ("averaged_stop", "windows")


@pytest.fixture(scope="module")
def bench():
    """The modules of the harness by name; they are scripts, and no package."""
    sys.path[:0] = [str(FOLDER), str(FOLDER / "detection")]
    yield {name: importlib.import_module(name) for name in NAMES}
    del sys.path[:2]
    for name in NAMES:
        sys.modules.pop(name)


def seen_of(bench, margin, loss, prediction, given, stop):
    held_out = np.arange(given.size) % 10 == 0
    return bench["seen"].Seen(margin, loss, prediction, given, held_out, stop)


def network(n=4_000, rate=0.2, unsure=0.2, seed=0):
    """What a network says that is sure and right of most samples, and unsure and wrong of half of the rest."""
    rng = np.random.default_rng(seed)
    true, odd = rng.integers(0, 2, n), rng.random(n) < unsure
    given = np.where(rng.random(n) < rate, 1 - true, true)
    prediction = np.where(odd & (rng.random(n) < 0.5), 1 - true, true)
    gap = np.where(odd, 0.2, 3.0) * rng.uniform(0.9, 1.1, n)
    margin = np.where(prediction == given, gap, -gap)
    return given, true, margin, np.logaddexp(0, -margin), prediction


def test_ranking_and_decisions_against_scikit_learn(bench):
    rng = np.random.default_rng(0)
    noisy, score = rng.random(500) < 0.2, rng.normal(size=500)
    found = bench["score"].ranking(noisy, score)
    assert_close(found["ap"], average_precision_score(noisy, score))
    assert_close(found["p_at_k"], noisy[np.argsort(-score)[: noisy.sum()]].mean())
    flagged = score > 0.5
    decided = bench["score"].decided(noisy, flagged)
    assert_close(decided["f1"], f1_score(noisy, flagged))
    nothing = bench["score"].decided(noisy, bench["peers"].nothing(500))
    assert nothing["f1"] == 0 and nothing["flagged"] == 0 and np.isnan(nothing["precision"])
    assert np.isnan(bench["score"].decided(np.zeros(500, bool), flagged)["f1"])


def test_wilson_intervals_against_scipy(bench):
    for count, n in ((0, 30), (7, 40), (40, 40)):
        low, high = wilson(count, n)
        theirs = binomtest(count, n).proportion_ci(0.9, "wilson")
        assert_close(np.array([low, high]), np.array([theirs.low, theirs.high]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_the_rate_is_told_where_the_network_errs_on_what_it_is_unsure_of(bench, rate):
    given, true, margin, loss, prediction = network(rate=rate)
    seen = seen_of(bench, *(np.tile(part, (5, 1)) for part in (margin, loss, prediction)), given, 2)
    rates = {name: method(seen) for name, method in bench["methods"].RATES.items()}
    # 3,000 anchors, or 800 samples in each of five parts, 5 standard errors
    for name, n in (("anchors, to the stop", 3_000), ("fifths, to the stop", 800)):
        found, low, high = rates[name]
        assert_close(found, (given != true).mean(), atol=5 * np.sqrt(max(rate * (1 - rate), 1e-3) / n))
        assert low <= found <= high
    # all rejected samples say 0.1 (1 - 2 rate) more
    assert rates["rejected around the stop"][0] > rates["fifths, to the stop"][0] + 0.03


def test_fifths_are_parts_of_each_predicted_class_by_how_sure_the_network_is(bench):
    """Two predicted classes of ten samples; of each fifth (two samples a class) so many are contradicted."""
    prediction = np.repeat([0, 1], 10)
    sure = np.concatenate([np.linspace(0.99, 0.6, 10), np.linspace(0.999, 0.55, 10)])
    given, wrong = prediction.copy(), [0, 2, 12, 4, 6, 7, 18, 19]
    given[wrong] = 1 - given[wrong]
    gap = np.log(sure / (1 - sure))
    margin = np.where(prediction == given, gap, -gap)
    rows = np.tile(margin, (3, 1))
    seen = seen_of(bench, rows, np.logaddexp(0, -rows), np.tile(prediction, (3, 1)), given, 1)
    shares = np.array([1, 2, 1, 2, 2]) / 4  # the surest: sample 0; then 2 and 12; 4; 6 and 7; 18 and 19
    found, low, high = bench["methods"].fifths_rate(seen)
    errs = (shares.mean() - 0.2) / 0.5
    assert_close(found, (1 - errs) * 0.4 + errs / 3)
    least = wilson(1, 4)[0]  # of the four surest samples of all, 0, 1, 10 and 11, one is contradicted
    assert least < wilson(3, 12)[0]
    assert_close(np.array([low, high]), np.array([least, wilson(6, 12)[1]]))


def test_anchors_are_the_surest_of_each_predicted_class_and_look_only_up_to_the_stop(bench):
    given = np.array([0, 1, 1, 0, 1, 1, 1, 0])
    prediction = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    sure = np.array([0.9, 0.8, 0.7, 0.6, 0.95, 0.85, 0.75, 0.65])
    gap = np.log(sure / (1 - sure))
    margin = np.where(prediction == given, gap, -gap)
    late = np.where(given == 0, 9.0, 9.0)  # all labels are fitted after the stop
    rows = np.array([margin, margin, late])
    seen = seen_of(bench, rows, np.logaddexp(0, -rows), np.array([prediction, prediction, given]), given, 1)
    assert_close(seen.sure(seen.to_stop), sure)
    assert bench["methods"].anchored(seen, seen.to_stop, 0.5) == (1, 4)
    assert bench["methods"].anchored(seen, seen.to_stop, 0.75) == (2, 6)
    assert bench["methods"].anchored(seen, seen.to_stop, 1.0) == (3, 8)
    assert bench["methods"].anchored(seen, seen.to_stop, 1.0, given == 0) == (1, 3)
    assert bench["methods"].anchored(seen, slice(2, 3), 1.0) == (0, 8)


def test_a_count_decides_how_many_of_the_most_suspicious_are_flagged(bench):
    given, true, margin, loss, prediction = network()
    seen = seen_of(bench, *(np.tile(part, (5, 1)) for part in (margin, loss, prediction)), given, 2)
    methods = bench["methods"]
    flagged = methods.counted(seen, "`margin-to-twice`", "fifths, to the stop")
    assert flagged.sum() == round(methods.fifths_rate(seen)[0] * given.size)
    assert margin[flagged].max() <= margin[~flagged].min()
    assert bench["score"].decided(given != true, flagged)["f1"] > 0.8


def test_the_mean_rank_is_that_of_margin_and_corrected_probability(bench):
    given, true, margin, loss, prediction = network(n=300)
    noise = np.random.default_rng(4).normal(0, 0.5, (6, 300))  # no two within the float32 of a record
    rows = margin + noise
    prediction = np.where(rows > 0, given, 1 - given)
    loss = np.logaddexp(0, -rows)
    stop = bench["records"].stage_one(loss, prediction, np.arange(300) % 10 == 0)
    seen = seen_of(bench, rows, loss, prediction, given, stop)
    frame = ln.suspects(seen.recorder, held_out=seen.held_out).set_index("index")
    audited = frame["score"].sort_index().to_numpy()
    assert_close(bench["methods"].audited(seen), audited)
    training = read_training(seen.recorder, seen.held_out)
    corrected = judge([training], score="given-probability").score
    ranks = [rankdata(score, "ordinal") - 1 for score in (-rows[: 2 * stop + 2].mean(axis=0), corrected)]
    assert_close(bench["methods"].mean_rank(seen), np.mean(ranks, axis=0) / 299)
    assert_close(bench["methods"].corrected_probability(seen), corrected, atol=1e-6)


def test_the_cap_is_that_of_the_audit_where_the_network_rejects_more_than_the_interval_allows(bench):
    given, _, margin, loss, prediction = network(n=2_000, rate=0.05, unsure=0.4)
    seen = seen_of(bench, *(np.tile(part, (5, 1)) for part in (margin, loss, prediction)), given, 1)
    capped = judge([read_training(seen.recorder, seen.held_out)], decision="capped").flagged
    assert_close(seen.capped, capped)
    assert 100 < capped.sum() < seen.rejected.sum()


def test_several_trainings_are_audited_together(bench):
    """Each of three networks is misled on other samples; together they rank as the audit of all three does."""
    given, true, margin, loss, prediction = network(n=400)
    several = []
    for part in range(3):
        rows = np.tile(margin, (5, 1))
        rows[:, part::3] += np.random.default_rng(part).normal(0, 3, rows[:, part::3].shape[1])
        prediction = np.where(rows > 0, given, 1 - given)
        several.append(seen_of(bench, rows, np.logaddexp(0, -rows), prediction, given, 2))
    found = bench["seen"].judged(several)
    theirs = ln.suspects([seen.recorder for seen in several], held_out=[seen.held_out for seen in several])
    assert_close(found.score, theirs.set_index("index")["score"].sort_index().to_numpy())
    together = bench["score"].ranking(given != true, found.score)["ap"]
    assert together > max(bench["score"].ranking(given != true, seen.verdict.score)["ap"] for seen in several)


def rows_beside_cleanlab(**ahead):
    """Rows of one record a data set: cleanlab has .8 and .7, one training and five are ahead by so much."""
    rows = []
    for data, (one, five) in ahead.items():
        common = {"place": f"{data} mlp", "compared": True}
        for name, ap, trainings in (
            ("`suspects`, the package's default", 0.8 + one, 1), ("cleanlab good", 0.8, 5), ("cleanlab bad", 0.7, 5),
            ("5 trainings: `suspects`, the package's default", 0.8 + five, 5),
        ):  # fmt: skip
            rows.append(common | {"name": name, "ap": ap, "trainings": trainings, "seconds": 7.0 * trainings})
    return pd.DataFrame(rows)


def test_the_goals_beside_cleanlab_are_judged_by_data(bench):
    table = bench["tables"].beside(rows_beside_cleanlab(wine=(-0.019, 0.001), digits=(-0.021, -0.001)))
    assert "behind by at most 0.02 on each data set: missed on digits mlp." in table
    assert "goal: ahead on each data set: missed on digits mlp." in table
    assert "| wine mlp | 1 | 0.781 | 0.800 | -0.019 | 7 | 35 | good |" in table
    assert "| mean of the data sets |  | 0.800 | 0.800 | 0.000 | 35 | 35 |  |" in table
    table = bench["tables"].beside(rows_beside_cleanlab(wine=(-0.019, 0.001)))
    assert table.count("met on every data set.") == 2


def test_records_are_compared_where_every_rival_has_a_result(bench):
    frame = pd.DataFrame({"folds": [True, True, False], "several": [True, False, True]})
    assert list(bench["tables"].compared(frame)) == [True, False, False]
    assert list(bench["tables"].compared(frame.assign(several=False))) == [True, True, False]
    rows = rows_beside_cleanlab(wine=(0.1, 0.1))
    table = bench["tables"].beside(pd.concat([rows, rows.assign(ap=0.0, compared=False)]))
    assert table.count("| wine mlp | 1 | 0.900 | 0.800 | 0.100 |") == 2


def test_the_mean_of_the_data_sets_counts_each_once(bench):
    places = {"place": ["wine", "wine", "digits"], "name": "`loss`", "single": [1.0, 2.0, 4.5]}
    table = bench["tables"]._pivot(pd.DataFrame(places), "single", "place", overall="mean")
    assert table.splitlines()[2] == "| `loss` | 1.500 | 4.500 | 3.000 |"


def test_windows_around_a_choice_end_with_the_run_and_grow_with_it(bench):
    of = bench["averaged_stop"].spans(9, 16)  # the tenth epoch of sixteen
    assert list(of["five"]) == [7, 8, 9, 10, 11] and list(of["fifteen"]) == list(range(2, 16))
    assert list(of["all up to twice it"]) == list(range(16)) and list(of["all up to it"]) == list(range(10))
    assert list(of["a half of it to twice it"]) == list(range(5, 16))
    assert list(of["onward"]) == list(range(7, 16))
    first = bench["averaged_stop"].spans(0, 16)
    assert list(first["all but two up to twice it"]) == [0, 1] and list(first["it to twice it"]) == [0, 1]
    assert list(first["onward"]) == list(range(9)) and list(first["five"]) == [0, 1, 2]
    last = bench["averaged_stop"].spans(15, 16)
    assert all(list(span) for span in last.values()) and list(last["it to twice it"]) == [15]


def test_the_regret_of_a_window_is_that_of_its_average_and_each_data_set_counts_once(bench, tmp_path, monkeypatch):
    learners = bench["learners"].LEARNERS
    monkeypatch.setitem(learners, "mlp", replace(learners["mlp"], epochs=8))
    windows, setting = bench["windows"], bench["records"].Setting("breast-cancer", "mlp", "none", "constant", 0)
    asked, measure = [], windows._right

    def right(*arguments):
        of_mean = measure(*arguments)
        return lambda epochs: asked.append(list(epochs)) or of_mean(epochs)

    monkeypatch.setattr(windows, "_right", right)
    made = windows.trained(setting, tmp_path)
    assert asked[-8:] == [[at] for at in range(8)]  # of which half of the test samples chooses one
    assert asked[-17:-9] == [[at for at in range(c - 2, c + 3) if 0 <= at < 8] for c in range(8)]  # averages of five
    for rule in made["returned"].values():
        assert rule["single epoch"] in made["test"] and rule["five"] in made["average"]
    assert not made["noisy"] and len(made["test"]) == 8
    best = 100 * (max(made["test"]) - made["returned"]["held-out loss"]["five"])
    table = windows.regrets([made]).set_index("what")
    assert_close(table.loc["held-out loss: five", "regret"], best)
    halved = windows.regrets([made], half=True).set_index("what").loc["held-out loss: five", "regret"]
    assert_close(halved, best - 100 * (max(made["test"]) - made["best of half"]))


def test_the_best_epoch_by_half_of_the_samples_is_judged_by_the_other_half(bench):
    """Of forty equally good epochs the best by all samples is so by luck; that by half of them is no better than any,
    on the mean of 40 draws, to 3 of its standard errors."""
    best, halves = [], []
    for seed in range(40):
        right = np.random.default_rng(seed).random((40, 200)) < 0.8
        best.append(right.mean(axis=1).max())
        halves.append(bench["windows"].best_of_half(right, seed))
    assert min(best) > 0.83 and abs(np.mean(halves) - 0.8) < 3 * np.std(halves) / 40**0.5 < 0.02
    better = np.vstack([right, np.random.default_rng(1).random((1, 200)) < 0.99])
    assert bench["windows"].best_of_half(better, 0) > 0.97


def test_each_data_set_counts_once(bench):
    windows = bench["windows"]
    names = ("2dplanes_mlp_none_step_seed3", "2dplanes_mlp_none_step_seed4", "fried_mlp_none_step_seed3")
    lines = [
        {"name": name, "noisy": True, "test": [1.0], "average": [1 - loss], "all": 0.0, "returned": {}}
        for name, loss in zip(names, (0.01, 0.03, 0.06), strict=True)
    ]
    row = windows.summary(windows.regrets(lines)).loc["best average of five (truth known)"]
    assert_close(row[["mean of data sets", "mean", "worst"]].to_numpy(float), np.array([4, 10 / 3, 6]))


def test_methods_see_no_truth(bench):
    names = {field.name for field in fields(bench["seen"].Seen)}
    assert names == {"margin", "loss", "prediction", "given", "held_out", "stop"}


def test_generators_follow_their_formulas(bench):
    """Away from the threshold, by four standard deviations of their noise, the class is that of the formula."""
    x, above = bench["sources"].fried(Path(), np.random.default_rng(0))
    value = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    far = np.abs(value - value.mean()) > 4
    assert far.mean() > 0.3 and (above == (value > value.mean()))[far].all()
    assert (above != (value > value.mean())).any()  # the noise counts
    x, above = bench["sources"].planes(Path(), np.random.default_rng(0))
    value = np.where(x[:, 0] == 1, 3 + x[:, 1:4] @ [3, 2, 1], -3 + x[:, 4:7] @ [3, 2, 1])
    far = np.abs(value - value.mean()) > 4
    assert far.mean() > 0.3 and (above == (value > value.mean()))[far].all()
    assert_close(np.unique(x[:, 0]), np.array([-1.0, 1.0]))
    assert_close(np.unique(x[:, 1:]), np.array([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 7])
def test_averages_are_those_of_the_five_epochs_around_each_one(bench, epochs):
    averages = bench["learners"].Averages(epochs)
    found = [pair for epoch in range(epochs) for pair in averages.add({"w": float(epoch**2)})]
    assert [centre for centre, _ in found] == list(range(epochs))
    for centre, weights in found:
        around = range(max(centre - 2, 0), min(centre + 3, epochs))
        assert_close(weights["w"], np.mean([epoch**2 for epoch in around]))


def test_names_of_files_tell_the_settings(bench):
    every = bench["grid"].settings((), (0, 3))
    assert len({setting.name for setting in every}) == len(every) > 300
    for setting in (*every, replace(every[-1], member=4)):
        assert bench["records"].Setting.from_name(setting.name) == setting
    assert {setting.schedule for setting in every} == {"constant", "step", "cosine"}
    few = bench["grid"].settings(("mnist",), (0, 3), noises=("none", "pair:0.1"))
    assert {setting.noise for setting in few} == {"none", "pair:0.1"} and set(few) < set(every) and len(few) == 4


def test_rates_that_differ_between_the_classes_have_the_stated_mean(bench):
    for n_classes in (2, 5):
        matrix = bench["records"]._uneven(0.2, n_classes).matrix(n_classes)
        assert_close(np.diag(matrix), 1 - np.linspace(0.05, 0.35, n_classes))
    assert_close(matrix[0, 1] / matrix[0, 3], 9.0)  # two thirds and a twelfth, and a twelfth


def test_a_stop_is_the_least_smooth_loss(bench):
    held_out = np.array([True, False])
    loss = np.array([[9, 0], [5, 0], [1, 0], [6, 0], [3, 0], [2, 0], [3, 0]], float)
    assert bench["records"].stage_one(loss, np.zeros((7, 2), int), held_out) == 5


# ------------------------------------------------------------------------------------------------------- all of it


@pytest.fixture
def small(bench, monkeypatch):
    """The learner of tables, with few epochs."""
    short = replace(bench["learners"].LEARNERS["mlp"], epochs=4)
    monkeypatch.setitem(bench["learners"].LEARNERS, "mlp", short)
    return bench["records"].Setting("wine", "mlp", "symmetric:0.2", "cosine", 3)


def test_a_record_is_made_once(bench, small, tmp_path, monkeypatch):
    record = bench["records"].record_of(small, tmp_path, tmp_path)
    assert record.margin.shape == (4, 125) and record.held_out.sum() == 12
    assert_close(record.margin > 0, record.prediction == record.given)
    assert 0.1 < record.noisy.mean() < 0.3
    assert np.isfinite(record.test_accuracy_averaged).all()
    assert record.seconds > 0 and record.watching > 0
    assert bench["score"].known_seconds(record) == record.seconds
    assert np.isnan(bench["score"].known_seconds(replace(record, watching=np.nan)))
    monkeypatch.setattr(bench["records"], "_train", None)
    again = bench["records"].record_of(small, tmp_path, tmp_path)
    assert_close(again.loss, record.loss)
    assert [path.name for path in tmp_path.iterdir()] == [f"{small.name}.npz"]


def test_seconds_are_without_those_of_the_tests(bench, small, monkeypatch):
    """A clock that the watch alone moves."""
    clock = [0.0]
    monkeypatch.setattr(bench["learners"].time, "process_time", lambda: clock[0])

    def watch(outputs, averaged):
        clock[0] += 2.5

    source = bench["sources"].load_source("wine", Path(), 0)
    trained = bench["learners"].LEARNERS["mlp"].train(source, source.y, "constant", 0, watch)
    assert (trained.seconds, trained.watching) == (0.0, 10.0)
    shorter = bench["learners"].LEARNERS["mlp"].train(replace(source, epochs=3), source.y, "step", 0, watch)
    assert len(shorter.loss) == 3 and shorter.watching == 7.5


def test_further_trainings_of_the_same_labels_are_not_averaged_and_may_be_left_unjudged(
    bench, small, tmp_path, monkeypatch
):
    monkeypatch.setattr(bench["run"], "rows_of", None)
    arguments = "--data wine --noises pair:0.1 --seeds 3 --folds none --members 2 --train-only --out".split()
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments, str(tmp_path)])
    bench["run"].main()
    setting = replace(small, noise="pair:0.1")
    assert sorted(path.stem for path in tmp_path.iterdir()) == [setting.name, f"{setting.name}_member1"]
    first, second = (bench["records"].record_of(replace(setting, member=k), tmp_path, tmp_path) for k in (0, 1))
    assert (first.given == second.given).all() and (first.held_out != second.held_out).any()
    assert np.isfinite(first.test_accuracy_averaged).all() and np.isnan(second.test_accuracy_averaged).all()


def test_a_killed_training_leaves_no_record(bench, small, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench["records"], "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        bench["records"].record_of(small, tmp_path, tmp_path)
    assert not list(tmp_path.glob("*.npz"))


def test_folds_predict_what_they_have_not_trained_on(bench, small, tmp_path):
    asked = []

    class Watched:
        """Notes what is trained on, and which samples it is asked about."""

        def train(self, source, given, schedule, seed, watch):
            def outputs(x):
                asked.append((source.x, x))
                return np.tile(np.arange(3.0), (len(x), 1))

            watch(outputs, lambda x: [])
            loss = np.ones((1, len(given)))
            return bench["learners"].Trained(loss, loss, loss, np.arange(len(given)) < 3, 1.0)

    bench["learners"].LEARNERS["watched"] = Watched()
    found = bench["records"].folds_of(replace(small, learner="watched"), tmp_path, tmp_path)
    del bench["learners"].LEARNERS["watched"]
    assert len(asked) == 5 and found["seconds"] == 5
    everything = np.concatenate([x for _, x in asked])
    assert len(np.unique(everything, axis=0)) == len(everything) == 125
    for trained, left_out in asked:
        assert not (trained[:, None] == left_out[None]).all(axis=2).any()
    assert_close(found["around"].sum(axis=1), np.ones(125), rtol=1e-6)


@pytest.mark.parametrize("noise", ["symmetric:0.2", pytest.param("none", marks=pytest.mark.slow)])
def test_one_command_writes_every_table(bench, small, tmp_path, monkeypatch, capsys, noise):
    pytest.importorskip("cleanlab")
    monkeypatch.setattr(bench["grid"], "NOISES", (noise,))
    out = tmp_path / "out"
    monkeypatch.setattr(
        sys, "argv", ["run.py", "--data", "wine", "adult", "--seeds", "0", "3", "--members", "2", "--out", str(out)]
        + ["--data-root", str(tmp_path)],
    )  # fmt: skip
    bench["run"].main()
    table, said = (out / "table.md").read_text(), capsys.readouterr().out
    assert "left out: adult" in said and "left out, for want of data: adult" in table.lower()
    for words in ("flags nothing", "## Rate", "## Stops", "## Test accuracy", "fifths, to the stop", "cleanlab"):
        assert words in table
    if noise != "none":
        for words in (
            "2 trainings: mean rank",
            "2 trainings: `suspects`, counted",
            "goal: ahead on each data set",
            "cleanlab self_confidence",
            "`aum`",
            "`suspects`, capped",
            "AP, compared",
        ):
            assert words in table
    monkeypatch.setattr(sys, "argv", ["run.py", "--stored", "--members", "2", "--out", str(out)])
    bench["run"].main()
    stored = (out / "table.md").read_text()
    assert stored.splitlines()[4:] == table.splitlines()[4:]
