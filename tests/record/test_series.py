"""Series, margins and masks in every form that holds numbers, and refusals of what holds none."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from labelnoise.errors import InputError
from labelnoise.record.selection import select_by_margin
from labelnoise.record.stages import Stages, find_stages, oracle_stop, separation
from labelnoise.record.stopping import HeldOut

FORMS = {
    "list": list,
    "tuple": tuple,
    "numpy": np.array,
    "float32": lambda values: np.array(values, np.float32),
    "series": lambda values: pd.Series(values, index=range(len(values), 0, -1)),
    "nullable": lambda values: pd.Series(values, dtype="Float64"),
    "torch": torch.tensor,
    "half": lambda values: torch.tensor(values, dtype=torch.bfloat16),
    "gradient": lambda values: torch.tensor(values, requires_grad=True),
    "list of tensors": lambda values: [torch.tensor(value, requires_grad=True) for value in values],
}
CLEAN, NOISY = [-1.0, -0.5, 0.25, 0.5, 0.75, 1.0], [-1.0, -1.0, -0.75, -0.5, -0.125, 0.25]
GAMMA, RHO = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 2.0, 1.0, 2.5, 4.5, 9.0]
NO_SERIES = [None, "0.5", ["a", "b"], object(), [None, 0.5], [[0.5], [0.5, 0.25]], [1j, 0.5], [True, False], 0.5, {}]
NO_SERIES += [[[0.5, 0.25]], pd.DataFrame({"a": [0.5, 0.25]}), torch.tensor([True, False]), np.array(["2020"], "M8[D]")]
NO_SERIES += [torch.tensor([0.5, 0.25]).to_sparse()]
WORDS = "must be (real numbers|a series)"


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def stages(clean=CLEAN, noisy=NOISY, gamma=GAMMA, rho=RHO):
    return find_stages(margin_clean_min=clean, margin_noisy_max=noisy, gamma_min=gamma, rho_bar_max=rho)


def test_every_form_of_a_series_gives_the_same_stages(form):
    assert stages(*map(form, (CLEAN, NOISY, GAMMA, RHO))) == Stages((2, 4), 3, (2, 3), 5, None, "")
    assert separation(form(CLEAN), form(NOISY)).tolist() == [-1, -0.5, 0.25, 0.5, 0.125, -0.25]


def test_every_form_of_a_series_gives_the_same_stop(form):
    clean, noisy = [0.5, 0.75, 1.0, 1.0], [0.5, 0.25, 0.25, 0.5]
    assert oracle_stop(form(clean), form(noisy)) == 2
    rule = HeldOut(n=100, smooth=3)
    accuracy, loss = [0.5, 0.75, 0.875, 0.875, 0.75, 0.5], [0.125, 0.5, 0.75, 0.75, 0.5, 0.125]
    assert rule(form(accuracy)).chosen == 3
    assert rule(form(accuracy), form(loss)).chosen == rule(np.array(accuracy), np.array(loss)).chosen == 4


def test_every_form_of_margins_gives_the_same_selection(form):
    noisy = [True, True, True, False, False]
    masks = [noisy, np.array(noisy), pd.Series(noisy), torch.tensor(noisy), [1, 1, 1, 0, 0]]
    masks += [np.array(noisy, np.uint8), pd.Series(noisy, dtype="boolean"), np.array(noisy, object)]
    for mask in masks:
        selection = select_by_margin(form([-1.0, -2.0, 0.5, -0.25, 2.0]), mask)
        assert selection.precision == selection.recall == selection.f1 == pytest.approx(2 / 3)


def test_integers_are_series_and_unsigned_ones_do_not_wrap():
    assert oracle_stop([0, 1, 1], np.array([0, 0, 1], np.uint8)) == 1
    assert separation(np.array([3, 1], np.uint8), np.array([1, 2], np.uint8)).tolist() == [-1, -2]
    assert select_by_margin([-1, 1], [True, False]).precision == 1


def test_margins_of_several_runs_may_be_nested_lists_or_tensors():
    margin = [[-1.0, 1, 1], [-1, -1, 1]]
    for values in (margin, torch.tensor(margin, requires_grad=True), pd.DataFrame(margin)):
        np.testing.assert_allclose(select_by_margin(values, [True, False, False]).precision, [1, 1 / 2])


@pytest.mark.parametrize("values", NO_SERIES, ids=range(len(NO_SERIES)))
def test_what_is_no_series_is_refused(values):
    good = [0.5, 0.25]
    calls = {
        "accuracy_clean": lambda: oracle_stop(values, good),
        "accuracy_noisy": lambda: oracle_stop(good, values),
        "accuracy": lambda: HeldOut(n=9)(values),
        "margin_clean_min": lambda: stages(values, good, good, good),
        "margin_noisy_max": lambda: stages(good, values, good, good),
        "gamma_min": lambda: stages(good, good, values, good),
        "rho_bar_max": lambda: stages(good, good, good, values),
    }
    if values is not None:
        calls["loss"] = lambda: HeldOut(n=9)(good, values)
    for name, call in calls.items():
        with pytest.raises(InputError, match=f"`{name}` {WORDS}") as refusal:
            call()
        assert re.fullmatch(r"[^\n]*, got [^\n]*; [^\n]*", str(refusal.value))


@pytest.mark.parametrize("margin", [None, "text", {}, ["a", "b"], [[None, 1.0]], [[1.0], [1.0, 2.0]], [True, False]])
def test_what_is_no_margin_is_refused(margin):
    with pytest.raises(InputError, match="`margin` must be real numbers, got .*; give an array"):
        select_by_margin(margin, [True, False])


def test_numbers_among_objects_are_numbers():
    assert oracle_stop(pd.Series([0.5, 1, 0.75], dtype=object), [0.5, 0.25, 0]) == 1


def test_series_of_different_lengths_are_refused():
    with pytest.raises(InputError, match=r"`rho_bar_max` must be as long as `margin_clean_min` \(6\), got 5; "):
        stages(rho=RHO[:5])
    with pytest.raises(InputError, match=r"`margin_noisy_max` must be as long as `margin_clean_min` \(1\), got 6"):
        stages(clean=[0.5])
    with pytest.raises(InputError, match=r"`accuracy_noisy` must be as long as `accuracy_clean` \(2\), got 1; "):
        oracle_stop([0.5, 0.25], [0.5])
    with pytest.raises(InputError, match=r"`loss` must have a value a record \(2,\), got \(1,\)"):
        HeldOut(n=9)([0.5, 0.25], [0.5])
    with pytest.raises(InputError, match=r"`margin_noisy_max` must be as long as `margin_clean_min` \(2\), got 3"):
        separation([0.5, 0.25], [0.5, 0.25, 0])


def test_series_without_a_step_are_refused_and_records_without_one_stop_nowhere():
    with pytest.raises(InputError, match="`margin_clean_min` must hold step 0, got no value; "):
        stages([], [], [], [])
    assert oracle_stop([], []) is None


@pytest.mark.parametrize(
    "noisy",
    [
        None,
        "10",
        ["yes", "no"],
        [0.0, 1.0],
        [0.5, 1.0],
        [2, 1],
        [-1, 1],
        object(),
        [True, None],
        [[True], [True, False]],
    ],
)
def test_what_is_no_mask_is_refused(noisy):
    with pytest.raises(InputError, match="`noisy` must be a mask of truth values, got .*; give y_given != y_true"):
        select_by_margin([-1.0, 2.0], noisy)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 4), (5, 1, 4), (1, 1, 1, 4)])
def test_a_mask_that_does_not_broadcast_is_refused(shape):
    margin = np.zeros((3, 4)) if shape != (1, 1, 1, 4) else np.zeros(4)
    with pytest.raises(InputError, match=r"`noisy` must broadcast to the shape of `margin` \(.*4,?\), got \("):
        select_by_margin(margin, np.ones(shape, bool))


def test_a_margin_has_samples():
    with pytest.raises(InputError, match=r"`margin` must have the samples as its last axis, got one number; "):
        select_by_margin(-1.0, True)


@pytest.mark.parametrize("accuracy", [[-0.5, 0.25], [0.25, -0.5], [0.25, -np.inf]])
def test_the_share_that_lies_outside_is_named(accuracy):
    with pytest.raises(InputError, match=r"shares in \[0, 1\], got -(0.5|inf); 78% is 0.78"):
        HeldOut(n=9)(accuracy)


@pytest.mark.parametrize("name", ["n", "patience", "smooth"])
@pytest.mark.parametrize("value", [None, "5", 2.0, True, 0])
def test_the_numbers_of_the_rule_are_integers(name, value):
    with pytest.raises(InputError, match=f"`{name}` must be an integer >= 1, got "):
        HeldOut(**{"n": 5, name: value})
