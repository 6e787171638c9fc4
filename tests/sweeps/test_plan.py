"""Cells, seeds and chunks follow from the settings alone."""

import hashlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import labelnoise
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional
from labelnoise.sweeps.chunks import FACTS, Finished, Store, gather, run_chunk
from labelnoise.sweeps.experiment import SweepRun
from labelnoise.sweeps.plan import draw_points
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.dynamics import Dynamics
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.shown import Shown

SWEEP = SweepRun(
    SignalNoise(n=20, d=300, m=3), SimulateConfig(steps=20, test_draws=9), grid=("d=100,200,300", "m=2,3"), seeds=4
)


def seeds_by_run(plan):
    """The seed of each run by its cell's values and its place among the seeds of the cell."""
    found = {}
    for at in range(plan.chunks):
        chunk = plan.chunk(at)
        for values, seed in zip(chunk.values.tolist(), chunk.seeds.tolist(), strict=True):
            cell = tuple(sorted(zip(chunk.names, values, strict=True)))
            found.setdefault(cell, []).append(seed)
    return found


def test_seeds_depend_on_the_cell_and_the_sweep_alone():
    whole = seeds_by_run(SWEEP.plan())
    assert len(whole) == 6 and all(len(seeds) == 4 for seeds in whole.values())
    every = [seed for seeds in whole.values() for seed in seeds]
    assert len(set(every)) == 24 and all(0 <= seed < 2**63 for seed in every) and max(every) > 2**60
    others = (
        replace(SWEEP, chunk=5),
        replace(SWEEP, grid=("m=2,3", "d=100:300:100")),  # another order, other words
        replace(SWEEP, grid=("d=300,200,100", "m=3,2"), memory=0.5),
        replace(SWEEP, simulation=replace(SWEEP.simulation, steps=40)),  # a longer run is the same run at first
    )
    for other in others:
        assert seeds_by_run(other.plan()) == whole
    part = seeds_by_run(replace(SWEEP, grid=("d=200,400", "m=3"), seeds=2).plan())
    assert part[(("d", 200.0), ("m", 3.0))] == whole[(("d", 200.0), ("m", 3.0))][:2]
    assert not {seed for seeds in seeds_by_run(replace(SWEEP, seed=1).plan()).values() for seed in seeds} & set(every)


def test_a_known_seed_stays_what_it_is():
    """Else a sweep would not go on after an upgrade with the same numbers."""
    chunk = replace(SWEEP, grid=("d=100", "tau=0.1"), seeds=2).plan().chunk(0)
    digests = [hashlib.sha256(b'[0, {"d": 100, "tau": 0.1}] %d' % index).digest() for index in (0, 1)]
    assert chunk.seeds.tolist() == [int.from_bytes(digest[:8], "big") // 2 for digest in digests]


def test_chunks_hold_each_run_once_and_only_what_fits_into_one_batch():
    plan = replace(SWEEP, grid=("m=2,3", "d=100,200,300", "n=10,20"), chunk=5).plan()
    assert plan.runs == 48 and plan.bounds[0] == 0 and plan.bounds[-1] == 48
    sizes = np.diff(plan.bounds)
    assert sizes.min() >= 4 and sizes.max() <= 5  # 12 runs of each (m, n), in three
    for at in range(plan.chunks):
        chunk = plan.chunk(at)
        assert len({(values[0], values[2]) for values in chunk.values.tolist()}) == 1
    assert sorted(plan.order.tolist()) == list(range(12))


def test_results_come_back_in_the_order_of_the_cells(tmp_path):
    plan, store = replace(SWEEP, chunk=5).plan(), Store(tmp_path)
    assert plan.order.tolist() == [0, 2, 4, 1, 3, 5]  # those of m = 2 first
    for at in range(plan.chunks):
        chunk = plan.chunk(at)
        columns = dict(zip(chunk.names, chunk.values.T, strict=True)) | {"own": chunk.seeds % 1000.0}
        store.write(at, Finished(columns, chunk.seeds, 0.5))
    result = gather(plan, Store(tmp_path))
    for name, values in zip(plan.names, plan.cells.T, strict=True):
        assert np.array_equal(result.columns[name], np.repeat(values[:, None], 4, axis=1))
    assert np.array_equal(result.columns["own"], result.seeds % 1000.0) and result.seconds == plan.chunks / 2
    expected = seeds_by_run(plan)
    for cell, seeds in zip(plan.cells.tolist(), result.seeds.tolist(), strict=True):
        assert seeds == expected[tuple(sorted(zip(plan.names, cell, strict=True)))]


def test_chunks_are_cut_to_the_memory_and_a_run_beyond_it_is_refused():
    large = replace(SWEEP, problem=SignalNoise(n=400, m=20), grid=("d=100,200",), seeds=50)
    few, many = (np.diff(replace(large, memory=memory).plan().bounds).max() for memory in (20, 200))
    assert 1 <= few <= many / 5
    with pytest.raises(
        InputError,
        match=r"must hold at least one run, but one at n=400, m=20, steps=20, test_draws=9 takes \d+ MiB, got 1 MiB",
    ):
        replace(large, memory=1).plan()


@pytest.mark.parametrize("shown", [Shown(batch_size=20), Shown(fresh_flips=0.1)], ids=["minibatches", "fresh flips"])
def test_what_is_drawn_ahead_counts_as_memory(shown):
    """Python's own count of what a chunk takes at most; without the draws twice as many runs would fit."""
    problem = SignalNoise(n=100, d=400, m=2, mu_norm=5.0, init_std=0.01)
    simulation = SimulateConfig(steps=4_000, test_draws=0, dynamics=Dynamics(shown=shown))
    plan = replace(SWEEP, problem=problem, simulation=simulation, grid=("d=400",), seeds=40, memory=40).plan()
    chunk = plan.chunk(0)
    run_chunk(
        replace(chunk, seeds=chunk.seeds[:1], evaluation=chunk.evaluation[:1], values=chunk.values[:1]),
        labelnoise.__version__,
    )
    tracemalloc.start()
    run_chunk(chunk, labelnoise.__version__)
    most = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert 20 < most < 1.3 * 40


@pytest.mark.parametrize("sobol", [False, True])
def test_points_lie_within_their_axes_and_fewer_are_the_first_of_more(sobol):
    sweep = replace(
        SWEEP, grid=("d=100:130", "n_snr2=log:1:100", "m=2,5"), design="sobol" if sobol else "random", points=64
    )
    points = draw_points(sweep.axes, 64, sobol, seed=3)
    assert points.shape == (64, 3)
    assert set(points[:, 0]) <= set(range(100, 131)) and len(set(points[:, 0])) > 15
    assert ((points[:, 1] >= 1) & (points[:, 1] <= 100)).all() and 20 <= (points[:, 1] < 10).sum() <= 44
    assert set(points[:, 2]) == {2, 5}
    assert np.array_equal(draw_points(sweep.axes, 9, sobol, seed=3), points[:9])
    assert not np.array_equal(draw_points(sweep.axes, 9, sobol, seed=4), points[:9])
    if sobol:
        assert ((points[:, 1] < 10).sum()) == 32  # evenly spread


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": ()}, "at least one parameter"),
        ({"grid": ("d=100:200",)}, "got only its ends; add a step"),
        ({"points": 9}, "needs the design random or sobol"),
        ({"design": "random"}, "must say how many random points"),
        ({"design": "sobol", "points": 0}, "`points` must be an integer >= 1"),
        ({"design": "sobol", "points": 4, "refine": 1}, "`refine` needs a grid"),
        ({"design": "spam"}, "one of grid, random, sobol"),
        ({"seeds": 0}, "`seeds`"),
        ({"seed": -1}, "`seed`"),
        ({"refine": -1}, "`refine`"),
        ({"chunk": 0}, "`chunk`"),
        ({"memory": 0}, "`memory`"),
        ({"grid": (3,)}, "`grid` must be a list"),
    ],
)
def test_settings_that_make_no_sweep_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SWEEP, **change)


def test_cells_that_cannot_be_are_refused_before_any_run():
    with pytest.raises(InputError, match=r"cannot be \(tau=0.6\)"):
        replace(SWEEP, grid=("tau=0.1,0.6",)).plan()
    points = replace(SWEEP, grid=("tau=0:0.6", "d=50:90", "mu_norm=1:9"), design="random", points=2_500, seeds=1)
    with pytest.raises(InputError, match=r"cannot be \(tau=0.5.*, d=50,"):  # those at an end are checked first
        points.plan()
    with pytest.raises(InputError, match=r"cannot be \(d=.*tau=0.5\)"):  # more cells than are checked one by one
        replace(SWEEP, grid=("d=100:600:1", "tau=0:0.5:0.01")).plan()


def test_the_facts_of_a_cell_are_its_own_numbers():
    problem = SignalNoise(
        n=20, d=300, m=2, mu_norm=3.0, noise_std=0.5, init_std=0.01, label_noise=ClassConditional(0.1, 0.3)
    )
    found = {name: of(problem, SimulateConfig(lr=0.05, steps=7)) for name, of in FACTS.items()}
    given = {"n": 20, "d": 300, "m": 2, "mu_norm": 3, "noise_std": 0.5, "init_std": 0.01, "lr": 0.05, "steps": 7}
    given |= {"tau_plus": 0.1, "tau_minus": 0.3, "n_snr2": 2.4, "stage_one_scale": 32 / 3}
    assert found == pytest.approx(given, rel=1e-12)
