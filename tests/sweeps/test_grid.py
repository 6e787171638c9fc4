"""What the words of a grid mean, and how each that means nothing is refused."""

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.noise.models import Symmetric
from labelnoise.sweeps.grid import is_geometric, read_grid, words_of
from labelnoise.sweeps.parameters import Setup, parameters_of, set_up
from labelnoise.theory.cells import group_of
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.optimizers import GradientDescent, Momentum
from labelnoise.theory.problem import SignalNoise

BASE = Setup(SignalNoise(), SimulateConfig())
PARAMETERS = parameters_of(BASE)


def values(word, parameters=PARAMETERS):
    (axis,) = read_grid([word], parameters)
    return list(axis.values)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("d=300,100,200", [100, 200, 300]),
        ("d=100:130:10", [100, 110, 120, 130]),
        ("mu_norm=0:0.7:0.1", [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("mu-norm=0:1:0.3", [0, 0.3, 0.6, 0.9]),
        ("n_snr2=log:1:128:8", [1, 2, 4, 8, 16, 32, 64, 128]),
        ("tau=lin:0:0.4:3", [0, 0.2, 0.4]),
        ("m=log:1:8:7", [1, 2, 3, 4, 6, 8]),
        ("lr=1e-3", [0.001]),
    ],
)
def test_words_mean_values(word, expected):
    assert values(word) == expected  # to the last digit: seeds follow from them


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "must name at least one parameter"),
        (["d"], "takes words such as d=100,200"),
        (["d="], "takes words such as"),
        (["n_snr=3"], "knows no parameter 'n_snr'; did you mean 'n_snr2'"),
        (["record_every=3"], "knows no parameter 'record_every'"),
        (["d=100:50:10"], "holds none"),
        (["d=100:200:0"], "a step > 0"),
        (["d=100:200:-5"], "a step > 0"),
        (["d=1:2:1e-5000"], "a step > 0"),
        (["d=1:2:3:4"], "LOW:HIGH:STEP"),
        (["d=1,1"], "repeats one"),
        (["d=1.5"], "whole numbers for 'd', got 1.5"),
        (["lr=nan"], "finite numbers, got 'nan'"),
        (["lr=a,b"], "finite numbers, got 'a'"),
        (["lr=1e999"], "finite numbers"),
        (["lr=log:0:1:5"], "above 0"),
        (["lr=log:2:1:5"], "LOW < HIGH"),
        (["lr=log:1:2:2.5"], "count >= 2"),
        (["lr=2:1"], "LOW < HIGH"),
        (["d=0:1e18:1"], "at most 100,000 values"),
        (["d=1,2", "d=3"], "'d' is given twice"),
        (["mu_norm=1,2", "n_snr2=3"], "'n_snr2' sets what 'mu_norm' sets"),
        (["tau_plus=0.1,0.2", "tau=0.1"], "'tau' sets what 'tau_plus' sets"),
        (["d=9,10", "d_over_n=2"], "'d_over_n' sets what 'd' sets"),
        (["lr=1", "stage_one_scale=2"], "sets what 'lr' sets"),
    ],
)
def test_words_that_mean_nothing_are_refused_in_one_sentence(words, message):
    with pytest.raises(InputError, match=message):
        read_grid(words, PARAMETERS)


def test_a_table_of_values_becomes_words():
    table = {"d": np.array([100, 200]), "tau": [0.1, 0.25], "n_snr2": "log:1:4:3", "m": 5}
    assert words_of(table) == ("d=100,200", "tau=0.1,0.25", "n_snr2=log:1:4:3", "m=5")
    assert [axis.values for axis in read_grid(words_of(table), PARAMETERS)] == [
        (100, 200), (0.1, 0.25), (1, 2, 4), (5,)
    ]  # fmt: skip
    for rubbish in (3, [1], {"d": ["a"]}, {"d": None}):
        with pytest.raises(InputError, match="grid"):
            words_of(rubbish)


@pytest.mark.parametrize(
    ("given", "quantity", "expected"),
    [
        ({"n_snr2": 8.0, "d": 900.0}, lambda s: s.problem.n_snr2, 8.0),
        ({"snr": 0.5, "d": 900.0}, lambda s: s.problem.snr, 0.5),
        ({"d_over_n": 3.0, "n": 50.0}, lambda s: s.problem.d, 150),
        ({"d_over_n2": 1.0, "n": 50.0}, lambda s: s.problem.d, 2500),
        ({"init_scale": 0.2, "d": 400.0}, lambda s: s.problem.init_std, 0.01),
        ({"tau": 0.3}, lambda s: s.problem.taus, (0.3, 0.3)),
        ({"tau_minus": 0.3, "tau_plus": 0.1}, lambda s: s.problem.taus, (0.1, 0.3)),
        ({"stage_one_scale": 20.0, "d": 800.0, "m": 5.0}, lambda s: s.simulation.lr, 200 * 5 / (20 * 800)),
        ({"weight_decay": 0.1}, lambda s: s.simulation.dynamics.weight_decay, 0.1),
        ({"batch_size": 7.0}, lambda s: s.simulation.dynamics.shown.batch_size, 7),
        ({"orthogonal_noise": 1.0}, lambda s: s.problem.orthogonal_noise, True),
        ({"zeta_std": 0.3}, lambda s: s.simulation.zeta_std, 0.3),
    ],
)
def test_a_parameter_sets_what_its_name_says_in_any_order_of_the_words(given, quantity, expected):
    for names in (list(given), list(given)[::-1]):
        found = quantity(set_up(BASE, {PARAMETERS[name]: given[name] for name in names}))
        assert type(found) is type(expected)
        assert_close(np.array(found), np.array(expected))


def test_the_fields_of_whatever_pieces_there_are_may_be_swept():
    setup = Setup(
        SignalNoise(label_noise=Symmetric(0.1)), SimulateConfig(dynamics=Dynamics(optimizer=Momentum(momentum=0.5)))
    )
    found = parameters_of(setup)
    swept = set_up(setup, {found["momentum"]: 0.7, found["rate"]: 0.2, found["tau_plus"]: 0.4})
    assert swept.simulation.dynamics.optimizer == Momentum(momentum=0.7) and swept.problem.taus == (0.4, 0.2)
    assert "nesterov" not in PARAMETERS and "rate" not in PARAMETERS


def test_a_momentum_of_zero_is_gradient_descent():
    def optimizer(dynamics, momentum):
        setup = Setup(SignalNoise(), SimulateConfig(dynamics=dynamics))
        swept = set_up(setup, {parameters_of(setup)["momentum"]: momentum})
        return swept.simulation.dynamics

    look_ahead = Dynamics(optimizer=Momentum(0.3, nesterov=True))
    assert optimizer(Dynamics(), 0.5).optimizer == Momentum(0.5)
    assert optimizer(look_ahead, 0.5).optimizer == Momentum(0.5, nesterov=True)
    for dynamics in (Dynamics(), look_ahead):
        assert optimizer(dynamics, 0.0) == Dynamics() and not optimizer(dynamics, 0.0).departures


@pytest.mark.parametrize("words", [("momentum", "nesterov"), ("nesterov", "momentum")])
@pytest.mark.parametrize(("momentum", "expected"), [(0.0, GradientDescent()), (0.7, Momentum(0.7, nesterov=True))])
def test_momentum_comes_after_the_other_settings_of_the_optimiser_that_it_may_replace(words, momentum, expected):
    setup = Setup(SignalNoise(), SimulateConfig(dynamics=Dynamics(optimizer=Momentum())))
    values = {"momentum": momentum, "nesterov": 1.0}
    swept = set_up(setup, {parameters_of(setup)[word]: values[word] for word in words})
    assert swept.simulation.dynamics.optimizer == expected


def test_what_may_share_a_batch_does():
    """`mixes` is what the plan cuts chunks by; the batch itself checks `group_of`."""
    values = {
        "tau": 0.1,
        "tau_plus": 0.1,
        "tau_minus": 0.1,
        "batch_size": 9.0,
        "selection_from": 1.0,
        "fresh_flips": 0.1,
        "momentum": 0.5,
        "n_classes": 2.0,  # the flips of this problem are those of two classes
    }
    for name, parameter in PARAMETERS.items():
        changed = set_up(BASE, {parameter: values.get(name, 1.0)})
        assert (group_of(*changed) == group_of(*BASE)) >= parameter.mixes, name


def test_a_cell_that_cannot_be_is_named():
    with pytest.raises(InputError, match=r"a cell that cannot be \(tau=0.6, d=100\): `tau_plus` must lie in"):
        set_up(BASE, {PARAMETERS["tau"]: 0.6, PARAMETERS["d"]: 100.0})
    for name, value in (("n_snr2", -1.0), ("stage_one_scale", 0.0), ("d_over_n", 1e300), ("snr", 1e200), ("bias", 2.0)):
        with pytest.raises(InputError, match="cannot be"):
            set_up(BASE, {PARAMETERS[name]: value})


def test_spacing_is_recognised():
    assert is_geometric([1, 2, 4, 8]) and is_geometric([100, 200, 400]) and is_geometric([1, 1e200, 1e300])
    assert not is_geometric([1, 2, 3]) and not is_geometric([0, 1, 10, 100]) and not is_geometric([1, 100])
