"""Where a refinement puts its cells."""

import numpy as np
import pytest

from labelnoise.sweeps.chunks import Finished
from labelnoise.sweeps.grid import read_grid
from labelnoise.sweeps.parameters import Setup, parameters_of
from labelnoise.sweeps.refinement import next_positions, refine, stage_one_shares, values_at
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.problem import SignalNoise

PARAMETERS = parameters_of(Setup(SignalNoise(), SimulateConfig()))
NAN = float("nan")


def on_a_line(*shares):
    return {(float(at),): share for at, share in enumerate(shares)}


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0, 0, 0.5, 1, 1), [1.5, 2.5]),  # around a cell on the boundary
        ((0, 0, 1, 1), [1.5]),  # between two of which one lies below, one above
        ((0, 0.05, 0.95, 1), [1.5]),
        ((1, 1, 1), []),
        ((0.1, 0, 0), [0.5]),  # the ends count as on it, and nothing lies beyond the grid
        ((0, NAN, 1), []),  # nothing can be said between
        ((0.5, NAN, 1), [0.5]),
        ((1, 0, 1), [0.5, 1.5]),
    ],
)
def test_new_cells_lie_along_the_boundary_only(shares, expected):
    assert next_positions(on_a_line(*shares), (len(shares),), 0.5) == [(at,) for at in expected]


def test_a_cell_on_the_boundary_gets_neighbours_on_all_sides_and_known_ones_are_not_added_again():
    shares = {(float(x), float(y)): 0.0 for x in range(3) for y in range(3)} | {(1.0, 1.0): 0.5, (1.5, 1.0): 0.0}
    around = {(x, y) for x in (0.5, 1.0, 1.5) for y in (0.5, 1.0, 1.5)} - {(1.0, 1.0), (1.5, 1.0)}
    assert set(next_positions(shares, (3, 3), 0.5)) == around


def test_values_between_follow_the_spacing_of_the_axis():
    axes = read_grid(["n_snr2=1,4,16", "tau=0.1,0.2,0.3", "m=2,4,9"], PARAMETERS)
    assert values_at(axes, (0.5, 1.5, 1.0)) == (2.0, 0.25, 4.0)
    assert values_at(axes, (1.25, 0.0, 0.5)) == (float(f"{4 * 2**0.5:.12g}"), 0.1, 3.0)


def result_of(shares):
    reached = np.array([[1.0] * round(4 * share) + [0.0] * (4 - round(4 * share)) for share in shares])
    return Finished({"stage_one": reached, "ok": np.ones_like(reached)}, np.zeros(reached.shape, np.int64), 1.0)


def test_rounds_close_in_on_the_boundary():
    """A step at tau = 0.23: each round halves the interval in which it lies."""
    axes = read_grid(["tau=0.1:0.4:0.1"], PARAMETERS)
    rounds = []

    def run(cells):
        rounds.append(cells[:, 0].tolist())
        return result_of(cells[:, 0] < 0.23)

    cells, result = refine(axes, result_of([1, 1, 0, 0]), 3, run)
    assert rounds == [[0.25], [0.225], [0.2375]]
    assert cells[:, 0].tolist() == [0.25, 0.225, 0.2375] and stage_one_shares(result) == [0, 1, 0]
    assert (
        refine(axes, result_of([1, 1, 1, 1]), 3, run) is None and refine(axes, result_of([1, 0, 0, 0]), 0, run) is None
    )


def test_whole_numbers_without_a_half_end_the_rounds():
    axes = read_grid(["m=2,3"], PARAMETERS)
    assert refine(axes, result_of([0, 1]), 5, lambda cells: pytest.fail("nothing lies between 2 and 3")) is None


def test_runs_that_diverged_or_cannot_have_a_stage_do_not_count():
    result = result_of([0.5, 1, 0])
    result.columns["ok"][0, :2] = 0
    result.columns["stage_one"][1, 1:] = NAN
    result.columns["ok"][2] = 0
    np.testing.assert_equal(stage_one_shares(result), [0.0, 1.0, NAN])
