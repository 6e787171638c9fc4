"""Stages, stop rules and the margin rule on hand-made series, counted by hand."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labelnoise.errors import InputError
from labelnoise.record.selection import select_by_margin
from labelnoise.record.stages import Stages, find_stages, oracle_stop, separation
from labelnoise.record.stopping import HeldOut
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.observables import loss

NAN = np.nan


def stages(clean, noisy, gamma=None, rho=None, **options):
    """Stages of two margin series; without coefficients the signal leads nowhere."""
    zeros = [0.0] * len(clean)
    series = {
        "margin_clean_min": clean,
        "margin_noisy_max": noisy,
        "gamma_min": gamma or zeros,
        "rho_bar_max": rho or zeros,
    }
    return find_stages(**{name: np.array(values, dtype=float) for name, values in series.items()}, **options)


# ---------------------------------------------------------------------------------------------------------- find_stages


def test_a_run_with_both_stages():
    found = stages(
        clean=[-1, -0.5, 0.2, 0.4, 0.6, 0.9],
        noisy=[-1, -0.9, -0.8, -0.5, -0.1, 0.3],
        gamma=[0, 1, 2, 3, 4, 5],
        rho=[0, 2, 1, 2.5, 4.5, 9],
        convergence=5,
    )
    # the smaller of clean and -noisy: -1, -0.5, 0.2, 0.4, 0.1, -0.3
    assert found == Stages(window=(2, 4), t1=3, lead=(2, 3), onset=5, convergence=5, reason="")


def test_separation_is_the_weaker_of_the_two_sides():
    assert separation(np.array([3.0, -1, 2]), np.array([-1.0, -2, 1])).tolist() == [1, -1, -1]


def test_t1_is_the_first_of_equal_steps():
    found = stages(clean=[-1, 0.1, 0.5, 0.3, 0.5], noisy=[-1, -1, -1, -1, -1])
    assert (found.t1, found.window) == (2, (1, 4))


def test_t1_and_window_leave_out_the_step_before_training():
    found = stages(clean=[9, 0.1, 0.2, -1], noisy=[-9, -1, -1, -1])
    assert (found.t1, found.window) == (2, (1, 2))


def test_the_initial_network_alone_is_no_stage():
    found = stages(clean=[9, -0.25, -1], noisy=[-9, -1, -1])
    assert (found.t1, found.window) == (None, None)
    assert found.reason == "no step separates clean from noisy samples (the best, step 1, misses by 0.25)"


def test_of_a_broken_window_the_part_around_t1_counts():
    gap = [-1, 0.2, -0.1, 0.3, 0.9, 0.1, -0.2, 0.8, 0.5]
    found = stages(clean=gap, noisy=[-2] * 9)
    assert (found.t1, found.window) == (4, (3, 5))
    found = stages(clean=gap[:4] + [0.4] + gap[5:], noisy=[-2] * 9)
    assert (found.t1, found.window) == (7, (7, 8))  # runs to the end


def test_a_margin_of_zero_is_not_fitted():
    found = stages(clean=[0, 0, 0.5, 0], noisy=[-1, -1, -1, -1])
    assert found.window == (2, 2)
    assert stages(clean=[0, 0, 0], noisy=[-1, -1, -1]).t1 is None


def test_the_lead_lies_in_the_window_and_spans_its_first_and_last_step():
    clean, noisy = [-1, -1, 1, 2, 1, 1, -1], [-9] * 7
    found = stages(clean, noisy, gamma=[5, 5, 0, 5, 0, 5, 5], rho=[1] * 7)
    assert (found.window, found.lead) == ((2, 5), (3, 5))
    assert stages(clean, noisy, gamma=[5, 5, 1, 1, 1, 1, 5], rho=[1] * 7).lead is None  # equal is no lead


def test_the_onset_comes_after_t1_even_where_the_window_ended_before():
    found = stages(clean=[-1, 0.5, -0.1, -0.1, -0.1], noisy=[1, -1, -1, 0, 0.2])
    assert (found.window, found.onset) == ((1, 1), 4)  # step 0 is before T1, and a margin of 0 is not fitted
    assert stages(clean=[-1, 0.5, 0.4], noisy=[-1, -1, -1]).onset is None


@pytest.mark.parametrize(
    ("clean", "noisy", "reason"),
    [
        ([1, 1], [NAN, NAN], "there are no noisy samples"),
        ([NAN, NAN], [1, 1], "there are no clean samples"),
        ([1], [-1], "no step was made"),
        ([1, NAN, NAN], [-1, NAN, NAN], "the run is not finite from step 1 on"),
        ([-1, -3, -2], [-9, -9, 2.5], "the best, step 2, misses by 2.5"),
        ([1, 0, -2], [-9, -9, -9], "the best, step 1, leaves a margin of 0"),
        ([1, 2, -2], [-9, 0, -9], "the best, step 1, leaves a margin of 0"),
    ],
)
def test_without_a_stage_one_the_reason_is_said(clean, noisy, reason):
    found = stages(clean, noisy, convergence=7)
    assert reason in found.reason
    assert (found.window, found.t1, found.lead, found.onset, found.convergence) == (None, None, None, None, 7)


def test_a_diverged_run_keeps_the_stages_it_reached():
    tail = [NAN] * 3
    found = stages(clean=[-1, 1, 2, 1, *tail], noisy=[-1, -1, -3, 1, *tail], gamma=[1] * 4 + tail, rho=[0] * 4 + tail)
    assert (found.t1, found.window, found.lead, found.onset) == (2, (1, 2), (1, 2), 3)
    found = stages(clean=[-1, 1, 2, *tail], noisy=[-1, -1, -3, *tail])
    assert (found.window, found.onset) == ((1, 2), None)  # NaN ends the window and is no onset


# --------------------------------------------------------------------------------------------------- stops on real data


def test_the_oracle_takes_the_first_of_the_best_balances():
    clean, noisy = np.array([0.5, 0.9, 1.0, 1.0]), np.array([0.5, 0.1, 0.2, 0.6])  # balances 0.5, 0.9, 0.9, 0.7
    assert oracle_stop(clean, noisy) == 1
    assert oracle_stop(clean[::-1], noisy[::-1]) == 1
    assert oracle_stop(np.array([0.2, 0.9]), np.array([0.1, 0.85])) == 0  # 0.55 against 0.525: noise counts too


def test_the_oracle_needs_noisy_samples_and_passes_over_gaps():
    assert oracle_stop(np.array([0.5, 0.9]), np.full(2, NAN)) is None
    assert oracle_stop(np.full(2, NAN), np.array([0.5, 0.9])) is None
    assert oracle_stop(np.array([0.5, NAN, 0.9]), np.array([0.1, 0.0, 0.1])) == 2


def test_held_out_stops_after_patience_records_without_a_new_best():
    stop = HeldOut(n=100, patience=3, smooth=1)([0.5, 0.8, 0.7, 0.79, 0.75, 0.9])
    assert (stop.chosen, stop.stopped) == (1, 4)  # the later 0.9 is never seen
    stop = HeldOut(n=100, patience=4, smooth=1)([0.5, 0.8, 0.7, 0.79, 0.75, 0.9])
    assert (stop.chosen, stop.stopped) == (5, None)
    stop = HeldOut(n=100, patience=3, smooth=1)([0.5, 0.8, 0.7, 0.8, 0.75, 0.9])
    assert (stop.chosen, stop.stopped) == (5, None)  # an equal record is as good, and later


def test_a_flat_accuracy_gives_no_reason_to_stop():
    stop = HeldOut(n=200)(np.full(100, 0.8))
    assert (stop.chosen, stop.stopped, stop.falls) == (99, None, False)


def test_held_out_rarely_sees_a_fall_in_noise_without_a_trend():
    """1,000 flat series with independent binomial errors: about 2%, as the docstring says; a fall is always seen."""
    rng = np.random.default_rng(0)
    alarms = [HeldOut(n=200)(rng.binomial(200, 0.8, size=200) / 200).falls for _ in range(1_000)]
    assert 0.01 < np.mean(alarms) < 0.035
    fall = np.repeat([0.8, 0.7], 100)
    assert all(HeldOut(n=200)(rng.binomial(200, fall) / 200).falls for _ in range(100))


def test_held_out_keeps_the_best_record_of_the_best_mean():
    accuracy = [0.3, 0.9, 0.3, 0.7, 0.8, 0.7, 0.5, 0.4]  # 0.9 is a fluke: the best mean of three ends at 5
    stop = HeldOut(n=10_000, smooth=3)(accuracy)
    assert stop.chosen == 4 and stop.falls
    assert "held-out accuracy 0.733, at the end 0.533" in stop.reason


def test_a_mean_of_fewer_records_counts_only_as_long_as_there_is_no_other():
    accuracy = [0.43, 0.21, 0.54, 0.36, 0.54, 0.5]  # 400 images, five epochs: the first is luck
    rule = HeldOut(n=40, patience=2)
    chosen = [rule(accuracy[:records]) for records in range(1, 7)]
    assert [stop.chosen for stop in chosen] == [0, 0, 2, 2, 4, 4]
    assert [stop.stopped for stop in chosen] == [None] * 6
    late = [np.nan, *accuracy]  # of records that are not known none is lost
    assert [rule(late[:records]).chosen for records in range(2, 8)] == [1, 1, 3, 3, 5, 5]
    later = [NAN] * 3 + [0.9, 0.5, 0.3, 0.3, 0.3] + [0.6] * 5  # nor does the mean of two count there
    assert HeldOut(n=40)(later).chosen == 12


def test_loss_decides_between_the_records_of_the_best_mean():
    accuracy = [0.5, 0.7, 0.8, 0.8, 0.75, 0.6, 0.6]
    rule = HeldOut(n=100, smooth=3)
    assert rule(accuracy).chosen == 3  # of 0.8 and 0.8 the last
    assert rule(accuracy, [0.1, 0.6, 0.70, 0.69, 0.61, 0.1, 0.1]).chosen == 4
    assert rule(accuracy, [0.1, 0.6, 0.62, 0.69, NAN, 0.1, 0.1]).chosen == 2
    assert rule(accuracy, accuracy[::-1]).reason == rule(accuracy).reason
    with pytest.raises(InputError, match=r"`loss` must have a value a record \(7,\), got \(2,\)"):
        rule(accuracy, [0.1, 0.2])


def test_held_out_says_whether_accuracy_falls_beyond_chance():
    """At n = 100 and a best of 0.8 two standard errors are 2 sqrt(0.8 0.2 / 100) = 0.08."""
    fell, stayed = (HeldOut(n=100, smooth=1)([0.5, 0.8, last]) for last in (0.7, 0.73))
    assert fell.falls and not stayed.falls
    for part in ("0.800", "0.700", "a fall of more than two standard errors (0.080)"):
        assert part in fell.reason
    for part in ("0.800", "0.730", "no reason to stop is seen", "two standard errors (0.080)"):
        assert part in stayed.reason
    assert HeldOut(n=1_000, smooth=1)([0.5, 0.8, 0.73]).falls  # more samples see a smaller fall
    assert not HeldOut(n=100, smooth=1)([0.5, 0.8, 0.9]).falls


def test_a_fall_is_counted_from_the_chosen_record_to_the_last_known():
    assert not HeldOut(n=100, patience=1, smooth=1)([0.8, 0.7, 0.9]).falls  # the run went on to 0.9
    assert HeldOut(n=100, patience=1, smooth=1)([0.8, 0.7, 0.9, 0.6]).falls
    assert not HeldOut(n=100, patience=1, smooth=1)([0.8, 0.7, 0.9, 0.78]).falls  # from 0.9 it would be one
    fell = HeldOut(n=100, smooth=1)([0.8, 0.7, NAN])
    assert fell.falls and "0.700" in fell.reason and "nan" not in fell.reason


def test_held_out_knows_an_error_at_a_perfect_accuracy():
    """A best of 1.0 has no binomial spread; 2 sqrt(1/n / n) = 2/n stands in for it."""
    assert not HeldOut(n=100, smooth=1)([1.0, 0.99]).falls
    assert HeldOut(n=100, smooth=1)([1.0, 0.97]).falls


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    accuracy=st.lists(st.sampled_from([0.4, 0.5, 0.6, 0.7, NAN]), min_size=1, max_size=12), patience=st.integers(1, 4)
)
def test_held_out_decides_offline_what_it_decided_online(accuracy, patience):
    rule = HeldOut(n=50, patience=patience, smooth=1)
    first = next((t for t, value in enumerate(accuracy) if not np.isnan(value)), None)
    assume(first is not None)
    offline = rule(np.array(accuracy))
    prefixes = range(first, len(accuracy))  # before the first number there is nothing to decide
    online = next((t for t in prefixes if rule(np.array(accuracy[: t + 1])).stopped is not None), None)
    assert offline.stopped == online
    seen = accuracy if online is None else accuracy[: online + 1]
    assert offline.chosen == max(t for t, value in enumerate(seen) if value == np.nanmax(seen))
    if online is not None:
        stops = [rule(np.array(accuracy[: t + 1])) for t in range(online, len(accuracy))]
        assert {(stop.chosen, stop.stopped) for stop in stops} == {(offline.chosen, online)}
        assert online - offline.chosen == patience


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HeldOut(n=0), "`n` must be an integer >= 1, got 0"),
        (lambda: HeldOut(n=5, patience=0, smooth=1), "`patience` must be an integer >= 1, got 0"),
        (lambda: HeldOut(n=5)([]), "`accuracy` must hold at least one number, got none"),
        (lambda: HeldOut(n=5)([NAN, NAN]), "`accuracy` must hold at least one number"),
        (lambda: HeldOut(n=5)([60.0, 78.0]), r"`accuracy` must hold shares in \[0, 1\], got 78"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(make, words):
    with pytest.raises(InputError, match=words):
        make()


# ------------------------------------------------------------------------------------------------------ the margin rule


def test_selection_counted_by_hand():
    noisy = np.array([True, True, True, False, False, False, False])
    margin = np.array([-1.0, -2.0, 0.5, -0.1, 2.0, 3.0, 0.0])  # suspects 0, 1, 3; hits 0, 1; 0.0 is no suspect
    found = select_by_margin(margin, noisy)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    margin[4] = -1  # a fourth suspect, clean
    found = select_by_margin(margin, noisy)
    assert (found.precision, found.recall) == (pytest.approx(1 / 2), pytest.approx(2 / 3))
    assert found.f1 == pytest.approx(2 / (1 / (1 / 2) + 1 / (2 / 3)))  # the harmonic mean


@pytest.mark.parametrize(
    ("margin", "noisy", "expected"),
    [
        ([1, 2], [True, False], (NAN, 0.0, 0.0)),  # no suspects
        ([-1, 2], [False, False], (NAN, NAN, NAN)),  # no noisy samples
        ([1, 2], [False, False], (NAN, NAN, NAN)),
        ([NAN, -1], [True, True], (1.0, 0.5, 2 / 3)),  # a sample never seen is no suspect
        ([-1, 2], [True, False], (1.0, 1.0, 1.0)),
    ],
)
def test_selection_where_a_share_is_undefined(margin, noisy, expected):
    found = select_by_margin(np.array(margin, dtype=float), np.array(noisy))
    np.testing.assert_allclose([found.precision, found.recall, found.f1], expected)


def test_selection_keeps_leading_axes_and_broadcasts_the_truth():
    noisy = np.array([True, False, False])
    margin = np.array([[[-1, 1, 1], [1, 1, 1]], [[-1, -1, 1], [-1, -1, -1]]], dtype=float)  # (2, 2, 3)
    found = select_by_margin(margin, noisy)
    np.testing.assert_allclose(found.precision, [[1, NAN], [1 / 2, 1 / 3]])
    np.testing.assert_allclose(found.recall, [[1, 0], [1, 1]])
    np.testing.assert_allclose(found.f1, [[1, 0], [2 / 3, 1 / 2]])
    per_run = select_by_margin(margin, np.array([[[True, False, False]], [[False, True, False]]]))
    np.testing.assert_allclose(per_run.recall, [[1, 0], [1, 1]])
    np.testing.assert_allclose(per_run.precision, [[1, NAN], [1 / 2, 1 / 3]])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(z=st.floats(-700, 700).filter(lambda z: z == 0 or abs(z) > 1e-12))
def test_a_loss_above_log_2_is_a_negative_margin(z):
    class View:
        dynamics, n_classes = Dynamics(), 2
        xp, y_given, output = np, np.array([[1.0, -1.0]]), np.array([[z, -z]])

    assert ((loss(View) > np.log(2)) == (z < 0)).all()
