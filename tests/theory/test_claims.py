"""The paper's claims checked on runs: where each holds, fails, has a constant only, or a premise that fails."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Symmetric
from labelnoise.theory.activations import LeakyReLU
from labelnoise.theory.claims import CLAIMS
from labelnoise.theory.draws import Draw, stack
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.findings import CONSTANT_ONLY, FAILS, HOLDS, NOT_MEASURED, PREMISE_FAILS
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.scales import conditions, stage_one_scale
from labelnoise.theory.simulation import simulate
from labelnoise.theory.verdicts import checks

NAN = np.nan
LR, STEPS, TEST_DRAWS = 0.02, 1_000, 400
RECORD = ("margin", "margin_predicted", "output", "gamma", "rho")


def problem(mu_norm=16.0, tau_plus=0.05, tau_minus=0.15):
    noise = ClassConditional(tau_plus, tau_minus)
    return SignalNoise(n=60, d=1_200, m=4, mu_norm=mu_norm, init_std=0.001, label_noise=noise)


@pytest.fixture(scope="module")
def batch():
    """Strong signal; signal too weak for a Stage I; no label noise; label noise in one class only."""
    draws = [
        problem().sample(seed=6, vectors=True),
        problem(4.5, 0.2, 0.2).sample(seed=1, vectors=True),
        problem(16.0, 0, 0).sample(seed=0),
        problem(16.0, 0.2, 0).sample(seed=2),
    ]
    return simulate(stack(draws), lr=LR, steps=STEPS, record_every=100, record=RECORD, test_draws=TEST_DRAWS)


@pytest.fixture(scope="module")
def strong(batch):
    assert batch[0].stages.t1 and batch[0].stages.convergence  # both stages, and noisy samples in both classes
    return batch[0]


@pytest.fixture(scope="module")
def weak(batch):
    return batch[1]


@pytest.fixture(scope="module")
def without_noise(batch):
    return batch[2]


@pytest.fixture(scope="module")
def one_class(batch):
    return batch[3]


@pytest.fixture(scope="module")
def short(strong):
    """The strong run again, not long enough to converge, with as little measured as possible."""
    return simulate(strong.draw, lr=LR, steps=20, record_every=20, test_draws=0)


@pytest.fixture(scope="module")
def no_problem(strong):
    """The strong run again from bare vectors: the distribution is not known."""
    draw = strong.draw
    v = draw.vectors
    bare = Draw.from_vectors(v.mu[0], v.xi, v.w0, draw.y_true, draw.y_given)
    return simulate(bare, lr=LR, steps=STEPS, record_every=100, test_draws=50)


def check(run, claim):
    (found,) = [found for found in checks(run) if found.claim == claim]
    return found


def with_track(run, step, **changes):
    """The run with tracked series changed at one step."""
    track = {name: series.copy() for name, series in run.track.items()}
    for name, value in changes.items():
        track[name][step] = value
    return replace(run, track=track)


def with_last(run, **changes):
    """The run with other numbers in the last row of its table."""
    table = {name: column.copy() for name, column in run.table.items()}
    for name, value in changes.items():
        table[name][-1] = value
    return replace(run, table=table)


def with_t1(run, **changes):
    """The run with other numbers at T1."""
    return replace(run, at_t1={**run.at_t1, **{name: np.float64(value) for name, value in changes.items()}})


def test_a_step_longer_than_stage_one_fails_the_premise(short):
    scale = stage_one_scale(problem(), 1.0)
    long = simulate(short.draw, lr=1.25 * scale, steps=5, record_every=5, test_draws=0)
    assert {found.verdict for found in checks(long)} <= {PREMISE_FAILS, NOT_MEASURED}
    stages = check(long, "Thm 4.1, stages")
    assert "not for one with which n m / (eta sigma_xi^2 d), the scale of T1, is 0.8 of a step" in stages.reason
    inside = simulate(short.draw, lr=0.8 * scale, steps=5, record_every=5, test_draws=0)
    assert check(inside, "Thm 4.1, stages").verdict in (HOLDS, FAILS)
    bare = replace(long, draw=replace(long.draw, problem=None))
    assert "a step" not in check(bare, "Thm 4.1, stages").reason  # of an unknown distribution there is no scale


def test_no_signal_fails_the_premise_of_every_claim():
    run = simulate(problem(0.0).sample(seed=6), lr=LR, steps=60, record=("margin", "margin_predicted"))
    assert {found.verdict for found in checks(run)} == {PREMISE_FAILS}
    assert check(run, "Thm 4.1, stages").reason.startswith("proved for n SNR^2 of order one, not for 0: there is no s")


def test_no_claim_is_decided_on_vectors_of_an_unknown_distribution(strong, no_problem):
    decided = [found for found in checks(strong) if found.verdict in (HOLDS, FAILS)]
    assert len(decided) >= 5
    for found in decided:
        bare = check(no_problem, found.claim)
        assert bare.verdict == NOT_MEASURED, found.claim
        if "test error" not in found.claim:  # the numbers stay
            assert bare.measured == pytest.approx(found.measured) and bare.reason.endswith(f"({found.reason})")


# ---------------------------------------------------------------------------------------------------------- calculators


def test_stage_one_scale_by_hand():
    assert stage_one_scale(SignalNoise(n=200, m=20, d=40_000), 0.005) == pytest.approx(20)
    assert stage_one_scale(SignalNoise(n=10, m=3, d=50, noise_std=2.0), 0.1) == pytest.approx(30 / (0.1 * 4 * 50))


def test_conditions_by_hand():
    p = SignalNoise(n=100, m=20, d=40_000, mu_norm=50.0, noise_std=2.0, init_std=0.01)
    expected = {
        "n SNR^2": 100 * 2_500 / (4 * 40_000),
        "d / n^2": 4.0,
        "d sigma_xi / (n ||mu||)": 16.0,
        "m / log n": 20 / np.log(100),
        "n / log m": 100 / np.log(20),
        "sigma_0 sigma_xi sqrt(d)": 4.0,
        "sigma_0 ||mu||": 0.5,
        "eta sigma_xi^2 d / (n m)": 0.005 * 4 * 40_000 / 2_000,
        "eta ||mu||^2 / m": 0.005 * 2_500 / 20,
    }
    found = conditions(p, 0.005)
    assert list(found) == list(expected)
    assert_close(list(found.values()), list(expected.values()))


def test_conditions_of_one_sample_and_one_filter_are_not_limited_by_logarithms():
    found = conditions(SignalNoise(n=1, m=1, d=10), 0.1)
    assert found["m / log n"] == found["n / log m"] == np.inf


# ----------------------------------------------------------------------------------------------------------- all claims


def test_checks_come_in_the_order_of_the_claims(strong):
    found = checks(strong)
    assert [(c.claim, c.statement) for c in found] == [(claim, statement) for claim, statement, _ in CLAIMS]
    assert len({c.claim for c in found}) == len(found) == 17
    for c in found:
        assert c.reason and c.verdict in (HOLDS, FAILS, CONSTANT_ONLY, PREMISE_FAILS, NOT_MEASURED)
        assert (c.runs, c.holds) == {HOLDS: (1, 1), FAILS: (1, 0)}.get(c.verdict, (0, 0))
        assert np.isfinite(c.constant) == (c.verdict == CONSTANT_ONLY)


def test_only_a_trajectory_can_be_checked():
    with pytest.raises(InputError, match=r"`trajectory` must come from simulate\(...\), got dict"):
        checks({})


def test_a_run_that_diverged_at_once_has_no_claim_that_holds():
    draw = replace(problem(), mu_norm=1e149).sample(seed=0)
    run = simulate(draw, lr=1e12, steps=5, test_draws=10)
    assert run.status != "ok"
    assert {(c.verdict, c.reason) for c in checks(run)} == {(NOT_MEASURED, run.status)}


# ------------------------------------------------------------------------------------------------- Thm 4.1 and Prop 4.3


def test_stage_one_holds_fails_and_does_not_apply(strong, weak, without_noise):
    found = check(strong, "Thm 4.1, stages")
    gap = np.minimum(strong.track["margin_clean_min"], -strong.track["margin_noisy_max"])[1:].max()
    assert (found.verdict, found.measured, found.bound) == (HOLDS, gap, 0)
    first, last = strong.stages.window
    assert found.reason == f"T1 = {strong.stages.t1}, window from step {first} to {last}"
    found = check(weak, "Thm 4.1, stages")
    assert found.verdict == FAILS and found.measured < 0 and "no step separates" in found.reason
    found = check(without_noise, "Thm 4.1, stages")
    assert (found.verdict, found.reason) == (PREMISE_FAILS, "there are no noisy samples")


@pytest.mark.parametrize(
    "claim",
    [claim for claim, _, _ in CLAIMS if claim.startswith(("Thm 4.1, ", "Prop 4.3")) and claim != "Thm 4.1, stages"],
)
def test_what_is_claimed_of_t1_needs_a_stage_one(weak, without_noise, claim):
    for run, reason in (
        (weak, "there is no Stage I: no step"),
        (without_noise, "there is no Stage I: there are no noisy"),
    ):
        found = check(run, claim)
        assert found.verdict == PREMISE_FAILS and found.reason.startswith(reason)
        assert np.isnan([found.measured, found.constant]).all()


def test_the_time_of_t1_gives_a_constant_and_no_verdict(strong, no_problem):
    found = check(strong, "Thm 4.1, time")
    t1 = strong.stages.t1
    assert (found.verdict, found.measured, found.bound) == (CONSTANT_ONLY, t1, pytest.approx(60 * 4 / (0.02 * 1_200)))
    assert found.constant == pytest.approx(t1 / 10)
    found = check(no_problem, "Thm 4.1, time")
    assert (found.measured, found.reason) == (t1, "the draw has no problem, so the scale is unknown")
    assert found.verdict == NOT_MEASURED
    assert np.isnan(found.constant)


def test_signal_leads_or_not(strong):
    t1, (first, last) = strong.stages.t1, strong.stages.lead
    found = check(strong, "Thm 4.1, signal")
    assert found.verdict == HOLDS and f"from step {first} to {last}" in found.reason
    assert (found.measured, found.bound) == (strong.track["gamma_min"][t1], strong.track["rho_bar_max"][t1])
    late = simulate(problem().sample(seed=4, vectors=True), lr=LR, steps=40, test_draws=0)
    found_late = check(late, "Thm 4.1, signal")
    assert found_late.verdict == FAILS and late.stages.lead[1] < late.stages.t1
    behind = with_track(strong, t1, gamma_min=found.bound)  # equal is no lead
    assert check(behind, "Thm 4.1, signal").verdict == FAILS
    nowhere = with_track(strong, slice(None), gamma_min=-1.0)
    found = check(nowhere, "Thm 4.1, signal")
    assert found.verdict == FAILS and "it leads nowhere in the window" in found.reason


def test_sizes_of_the_coefficients_at_t1(strong):
    t1 = strong.stages.t1
    there = simulate(strong.draw, lr=LR, steps=t1, record_every=t1, record=("gamma", "rho"), test_draws=0)
    gamma, rho = there.values["gamma"][-1], there.values["rho"][-1]
    for claim, size in (("gamma", gamma.mean()), ("rho-bar", rho[rho > 1e-9].mean())):
        found = check(strong, f"Thm 4.1, size of {claim}")
        assert found.verdict == CONSTANT_ONLY and "unknown constant" in found.reason
        assert found.constant == found.measured == pytest.approx(size)
    found = check(with_t1(strong, rho_bar_mean=NAN), "Thm 4.1, size of rho-bar")  # every patch inactive
    assert (found.verdict, found.reason) == (NOT_MEASURED, "no rho-bar is positive at T1")


def test_the_selection_at_t1(strong):
    found = check(strong, "Prop 4.3, selection")
    assert (found.verdict, found.measured, found.bound) == (HOLDS, 1, 1)
    found = check(
        with_t1(strong, selection_f1=0.9, selection_precision=0.85, selection_recall=0.95), "Prop 4.3, selection"
    )
    assert (found.verdict, found.measured) == (FAILS, 0.9)
    assert "precision 0.850, recall 0.950" in found.reason


@pytest.mark.parametrize("kind", ["perturbed", "fresh"])
def test_implied_constant_of_early_stopping_comes_from_the_error_or_its_upper_bound_at_0(
    strong, short, no_problem, kind
):
    claim, stem = f"Prop 4.3, early stopping ({kind})", f"test_error_{kind}"
    assert strong.at_t1[stem] == 0
    found = check(strong, claim)
    assert (found.verdict, found.measured) == (CONSTANT_ONLY, 0)
    assert found.constant == pytest.approx(1_200 / (60 * np.log(TEST_DRAWS / 3)))
    found = check(with_t1(strong, **{stem: 0.02, f"{stem}_upper": 0.03}), claim)
    assert (found.measured, found.constant) == (0.02, pytest.approx(20 / np.log(1 / 0.02)))
    assert found.reason == "the constant C is unknown; implied C from the error"  # the bound only stands in for 0
    assert check(with_t1(strong, **{stem: 1.0, f"{stem}_upper": 1.0}), claim).constant == np.inf
    for run in (short, no_problem):
        found = check(run, claim)
        assert found.reason == "it needs a problem and test_draws > 0" and np.isnan(found.constant)
        assert found.verdict == NOT_MEASURED


def test_implied_constant_of_early_stopping_on_seen_noise_is_exact(strong, no_problem):
    claim = "Prop 4.3, early stopping (seen)"
    found = check(strong, claim)
    assert found.reason.startswith("no mistake in any case") and found.constant == 0
    found = check(with_t1(strong, test_error_seen=0.05), claim)
    assert (found.measured, found.constant) == (0.05, pytest.approx(20 / np.log(20)))
    assert "upper bound" not in found.reason
    assert np.isnan(check(no_problem, claim).constant)


# -------------------------------------------------------------------------------------------------------------- Thm 4.2

STAGE_TWO = [claim for claim, _, _ in CLAIMS if claim.startswith("Thm 4.2")]


@pytest.mark.parametrize("claim", STAGE_TWO)
def test_stage_two_needs_convergence_and_label_noise(short, without_noise, claim):
    found = check(short, claim)
    loss = short.table["loss"][-1]
    assert found.verdict == PREMISE_FAILS
    assert found.reason == f"the loss has not converged (last loss {loss:.3g}); raise `steps`"
    assert check(without_noise, claim).reason == "there are no noisy samples"


def test_clean_samples_after_convergence(strong):
    found = check(strong, "Thm 4.2, clean")
    clean = strong.values["margin"][-1][~strong.draw.noisy]
    assert (found.verdict, found.measured, found.bound) == (HOLDS, pytest.approx(clean.min()), 0)
    assert f"converged at step {strong.stages.convergence}" in found.reason
    for margin in (0.0, -0.5):
        found = check(with_track(strong, -1, margin_clean_min=margin), "Thm 4.2, clean")
        assert (found.verdict, found.measured) == (FAILS, margin)


def test_clean_samples_where_every_label_is_wrong(strong):
    draw = strong.draw
    flipped = replace(draw, y_given=-draw.y_true, vectors=None)
    run = simulate(flipped, lr=LR, steps=STEPS, record_every=100, test_draws=0)
    assert run.stages.convergence is not None
    assert check(run, "Thm 4.2, clean").reason == "there are no clean samples"
    assert check(run, "Thm 4.1, stages").reason == "there are no clean samples"


def test_the_memorised_share_is_a_number_without_a_verdict(strong):
    found = check(strong, "Thm 4.2, memorisation")
    assert (found.verdict, found.measured, found.constant) == (CONSTANT_ONLY, 1, 1)
    found = check(with_last(strong, rho_leads_share=0.4), "Thm 4.2, memorisation")
    assert (found.measured, found.constant) == (0.4, 0.4)


def brute_force_seen_error(run):
    """Mistakes over the 2n cases of explicit patches, with weights put together from the last gamma and rho."""
    draw, v = run.draw, run.draw.vectors
    sign = np.repeat([1, -1], draw.m)[:, None]
    mu, xi = v.mu[0], v.xi
    signal = sign * run.values["gamma"][-1][:, None] * mu / (mu @ mu)
    weights = v.w0 + signal + run.values["rho"][-1] @ (xi / (xi**2).sum(1, keepdims=True))
    mistakes = 0
    for y in (1, -1):
        for patch in xi:
            units = np.maximum(weights @ (y * mu), 0) + np.maximum(weights @ patch, 0)
            mistakes += y * (units[: draw.m].mean() - units[draw.m :].mean()) <= 0
    return mistakes


def smaller_rate(draw):
    """min over classes of (wrong labels / samples), counted."""
    counts = {int(label): [0, 0] for label in draw.classes}
    for true, given in zip(draw.y_true.tolist(), draw.y_given.tolist(), strict=True):
        counts[int(true)][0] += true != given
        counts[int(true)][1] += 1
    return min(wrong / size for wrong, size in counts.values())


def test_the_seen_error_is_an_independent_count_against_the_smaller_realised_rate(strong, weak):
    for run in (strong, weak):
        mistakes, rate = brute_force_seen_error(run), smaller_rate(run.draw)
        assert 0 < rate != 0.5 * sum(run.draw.problem.taus)
        found = check(run, "Thm 4.2, test error (seen)")
        assert found.measured == pytest.approx(mistakes / 120) and found.bound == pytest.approx(rate / 2)
        assert found.verdict == HOLDS
        assert f"{mistakes} of 120 cases against {60 * rate:.1f}" in found.reason and "an identity" in found.reason


def test_the_seen_error_is_compared_in_counts(strong):
    bound = check(strong, "Thm 4.2, test error (seen)").bound
    for error, verdict in ((bound, HOLDS), (bound - 1 / 120, FAILS), (0.0, FAILS)):
        assert check(with_last(strong, test_error_seen=error), "Thm 4.2, test error (seen)").verdict == verdict


def test_the_sampled_error_is_undecided_within_two_standard_errors(strong):
    claim, stem = "Thm 4.2, test error (perturbed)", "test_error_perturbed"
    bound, se = smaller_rate(strong.draw) / 2, 0.01
    for error, verdict in (
        (bound + 0.021, HOLDS),
        (bound + 0.019, NOT_MEASURED),
        (bound - 0.019, NOT_MEASURED),
        (bound - 0.021, FAILS),
    ):
        found = check(with_last(strong, **{stem: error, f"{stem}_se": se, f"{stem}_upper": error + 0.0165}), claim)
        assert (found.verdict, found.measured, found.bound) == (verdict, error, pytest.approx(bound))
        assert ("undecided within two standard errors" in found.reason) == (verdict == NOT_MEASURED)


def test_no_error_at_all_is_decided_by_its_upper_bound(strong):
    claim, stem = "Thm 4.2, test error (perturbed)", "test_error_perturbed"
    bound = smaller_rate(strong.draw) / 2
    none = {stem: 0.0, f"{stem}_se": NAN}
    assert check(with_last(strong, **none, **{f"{stem}_upper": 0.9 * bound}), claim).verdict == FAILS
    assert check(with_last(strong, **none, **{f"{stem}_upper": 1.1 * bound}), claim).verdict == NOT_MEASURED


def test_fresh_noise_escapes_the_bound_that_recurring_noise_obeys(weak):
    """In the run in which noise wins at once: nearly every mistake is a recognised patch."""
    assert check(weak, "Thm 4.2, test error (perturbed)").verdict == HOLDS
    found = check(weak, "Thm 4.2, test error (fresh)")
    assert found.verdict == PREMISE_FAILS and found.reason.startswith("not claimed by the theorem")
    assert found.measured < found.bound


def test_the_bound_is_0_where_a_class_has_no_noisy_samples(one_class):
    assert one_class.stages.convergence
    for kind in ("seen", "perturbed", "fresh"):
        found = check(one_class, f"Thm 4.2, test error ({kind})")
        assert (found.verdict, found.reason) == (PREMISE_FAILS, "a class without noisy samples makes the bound 0")


def test_sampled_errors_that_were_not_measured(no_problem):
    for kind in ("perturbed", "fresh"):
        found = check(no_problem, f"Thm 4.2, test error ({kind})")
        assert found.verdict == NOT_MEASURED and found.reason.startswith("it was not measured")
    found = check(no_problem, "Thm 4.2, test error (seen)")  # exact, needs no distribution
    assert found.verdict == NOT_MEASURED and "an identity, no evidence" in found.reason and found.measured > 0


# --------------------------------------------------------------------------------------------------- Thm 4.4, Lemma 5.1


def test_without_label_noise_all_samples_are_right_from_some_step_on(without_noise, strong):
    claim = "Thm 4.4, accuracy"
    found = check(without_noise, claim)
    first = int(found.measured)
    margins = without_noise.track["margin_clean_min"]
    assert found.verdict == HOLDS and first > 0  # not at initialisation
    assert (margins[first:] > 0).all() and not margins[first - 1] > 0
    found = check(with_track(without_noise, 500, margin_clean_min=-0.1), claim)
    assert (found.verdict, found.measured) == (HOLDS, 501)
    found = check(with_track(without_noise, -1, margin_clean_min=0.0), claim)
    assert (found.verdict, found.reason) == (FAILS, "some sample is wrong at the last step")
    assert check(strong, claim).reason == "there is label noise"


def test_implied_constant_without_label_noise(without_noise, strong, short):
    claim, exponent = "Thm 4.4, test error", 60 * 16**4 / 1_200
    assert without_noise.table["test_error_fresh"][-1] == 0
    found = check(without_noise, claim)
    assert (found.verdict, found.measured) == (CONSTANT_ONLY, 0)
    assert found.constant == pytest.approx(exponent / np.log(TEST_DRAWS / 3))
    found = check(with_last(without_noise, test_error_fresh=0.1, test_error_fresh_upper=0.125), claim)
    assert (found.measured, found.constant) == (0.1, pytest.approx(exponent / np.log(8)))
    assert check(strong, claim).reason == "there is label noise"
    bare = {name: column for name, column in without_noise.table.items() if not name.startswith("test_error_fresh")}
    assert check(replace(without_noise, table=bare), claim).reason == "it needs a problem and test_draws > 0"


def test_lemma_5_1_measures_predicted_against_actual_margins(strong, short):
    actual, predicted = strong.values["margin"][1:].ravel(), strong.values["margin_predicted"][1:].ravel()
    found = check(strong, "Lemma 5.1")
    assert found.measured == pytest.approx(np.corrcoef(actual, predicted)[0, 1] ** 2)
    gap = np.abs(actual - predicted).max()
    assert f"largest gap {gap:.3g}" in found.reason
    slope = np.cov(actual, predicted)[0, 1] / predicted.var(ddof=1)
    assert found.verdict == CONSTANT_ONLY and found.constant == gap and f"slope {slope:.3f}" in found.reason
    exact = replace(strong, values={**strong.values, "margin_predicted": strong.values["margin"]})
    assert check(exact, "Lemma 5.1").measured == pytest.approx(1)
    assert "slope 1.000" in check(exact, "Lemma 5.1").reason and "gap 0 " in check(exact, "Lemma 5.1").reason
    assert check(short, "Lemma 5.1").reason == 'it needs record=("margin", "margin_predicted")'
    start = simulate(strong.draw, lr=LR, steps=0, record=("margin", "margin_predicted"))
    assert check(start, "Lemma 5.1").reason == "it needs predicted margins that differ, at records after step 0"


def test_what_is_not_as_in_the_paper_fails_the_premise_of_every_claim(short):
    leaky = Dynamics(LeakyReLU(0.1))
    run = simulate(short.draw, lr=LR, steps=20, test_draws=0, record=("margin", "margin_predicted"), dynamics=leaky)
    for found in checks(run):
        assert found.verdict == PREMISE_FAILS, found.claim
    assert "not for: leaky ReLU (leak 0.1)" in check(run, "Lemma 5.1").reason


def test_the_seen_error_of_three_classes_is_counted_over_all_of_them():
    draw = SignalNoise(n=40, d=200, m=3, n_classes=3, mu_norm=30.0, label_noise=Symmetric(0.3)).sample(seed=0)
    run = with_last(simulate(draw, lr=0.05, steps=200, test_draws=0), loss=0.01, accuracy=1.0)  # as if converged
    wrong = run.table["test_error_seen"][-1] * 120
    assert f"{wrong:.0f} of 120 cases against {smaller_rate(draw) * 60:.1f}" in check(run, STAGE_TWO[2]).reason


def test_no_scale_of_the_patches_is_too_large_or_small_for_a_claim():
    for mu_norm, noise_std, init_std, lr in ((1e80, 1.0, 1e-90, 1e-161), (12e-83, 1e-83, 1e-3, 1e160)):
        p = replace(problem(mu_norm, 0, 0), noise_std=noise_std, init_std=init_std)
        run = simulate(p.sample(seed=0), lr=lr, steps=3, test_draws=20)
        assert run.status == "ok" and check(run, "Thm 4.4, test error").measured >= 0
    assert conditions(replace(problem(1e149), noise_std=1e-149), 0.1)["n SNR^2"] == np.inf


# -------------------------------------------------------------------------------------------------------------- batches


def test_a_batch_counts_the_runs_in_which_a_claim_holds(batch):
    found = check(batch, "Thm 4.1, stages")
    assert (found.verdict, found.holds, found.runs) == (FAILS, 2, 3)  # the run without label noise does not count
    assert found.reason == f"holds in 2 of 3 runs; seed {batch.draws[1].seed}: {batch[1].stages.reason}"
    found = check(batch, "Prop 4.3, selection")
    assert (found.verdict, found.holds, found.runs) == (HOLDS, 2, 2)
    assert found.reason.startswith(f"holds in 2 of 2 runs; seed {batch.draws[0].seed}: precision 1.000")
    found = check(batch, "Thm 4.2, test error (perturbed)")
    singles = [check(run, "Thm 4.2, test error (perturbed)").verdict for run in batch]
    assert (found.holds, found.runs) == (singles.count(HOLDS), singles.count(HOLDS) + singles.count(FAILS))


def test_a_seed_is_named_only_where_the_reasons_differ(batch):
    """Two of the four runs have no Stage I in the sense of the claim; the other two have the same words for it."""
    words, claim = "order one has an unknown constant", "Thm 4.1, size of gamma"
    assert check(batch, claim).reason == f"seed {batch.draws[0].seed}: {words}"
    both = simulate(stack([batch.draws[r] for r in (0, 3)]), lr=LR, steps=STEPS, test_draws=0)
    assert check(both, claim).reason == words


def test_numbers_of_a_batch_are_medians_over_the_runs_that_have_them(batch):
    found = check(batch, "Thm 4.1, time")
    assert (found.verdict, found.holds, found.runs) == (CONSTANT_ONLY, 0, 0)
    assert found.measured == np.mean([batch[r].stages.t1 for r in (0, 3)])
    assert found.constant == pytest.approx(found.measured / 10)
    found = check(batch, "Thm 4.1, stages")
    assert found.measured == sorted(check(batch[r], "Thm 4.1, stages").measured for r in (0, 1, 3))[1]


def test_the_reason_of_a_batch_belongs_to_its_number(batch):
    """The first run has label noise, the third has the number."""
    found = check(batch, "Thm 4.4, test error")
    assert found.reason.startswith(f"seed {batch.draws[2].seed}: the constant C_D is unknown")
    assert found.constant == check(batch[2], "Thm 4.4, test error").constant


def test_the_dense_engine_says_nothing_on_coefficients_that_are_not_unique():
    draw = SignalNoise(n=40, d=20, m=6, mu_norm=20.0, init_std=0.01).sample(seed=0, vectors=True)
    options = {"lr": 0.02, "steps": 60, "test_draws": 0, "record": RECORD}
    span, dense = simulate(draw, **options), simulate(draw, engine="dense", **options)
    assert span.stages.t1 == dense.stages.t1 is not None
    assert check(span, "Thm 4.1, signal").verdict in (HOLDS, FAILS)
    dense = with_last(dense, loss=0.01, accuracy=1.0)  # as if it had converged
    for claim in ("Thm 4.1, signal", "Thm 4.1, size of gamma", "Thm 4.1, size of rho-bar", "Thm 4.2, memorisation"):
        found = check(dense, claim)
        assert found.verdict == NOT_MEASURED and "not unique for d < n + 1" in found.reason
    assert np.isnan(dense.table["rho_leads_share"]).all()
    assert "not unique" in check(dense, "Lemma 5.1").reason
