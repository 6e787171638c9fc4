"""Sweeps on a Dask cluster of two worker processes: the numbers of a sweep that runs here, whoever dies."""

import os
import signal
import time

import pytest

import labelnoise as ln
from labelnoise.sweeps import cluster as module
from labelnoise.sweeps import execution

distributed = pytest.importorskip("distributed")

TABLE = {
    "n": 20, "d": 300, "m": 2, "lr": 0.05, "steps": 200, "test_draws": 20, "seeds": 8, "chunk": 4,
    "grid": {"n_snr2": [1, 4, 16], "m": [2, 3]}, "variables": ["stage_one", "loss", "test_error_fresh"],
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers, each a process."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as running:
        yield running


def test_a_cluster_gives_the_same_to_the_bit(tmp_path):
    """Of two workers that are threads of this process."""
    table = {**TABLE, "steps": 30}
    whole, told = ln.sweep(table, tmp_path / "here", workers=1), []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as threads:
        swept = ln.sweep(
            table, tmp_path / "there", scheduler=threads.scheduler_address, progress=lambda done, *_: told.append(done)
        )
    assert swept.drop_attrs(deep=False).identical(whole.drop_attrs(deep=False))
    assert told == list(range(4, 49, 4))


def test_a_worker_that_would_train_by_another_engine_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_has_numba", lambda: False)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as threads:
        where = {"scheduler": threads.scheduler_address}
        with pytest.raises(ln.InputError, match="the worker .* has no numba, .*; pip install"):
            ln.sweep({**TABLE, "steps": 30}, tmp_path / "compiled", **where)
        ln.sweep({**TABLE, "steps": 1, "seeds": 1, "one_patch": True}, tmp_path / "array", **where)


@pytest.mark.slow
def test_a_cluster_gives_the_same_to_the_bit_even_if_a_worker_is_killed(cluster, tmp_path):
    whole, told = ln.sweep(TABLE, tmp_path / "here", workers=1), []

    def kill_one(done, total, words=""):
        if not told:
            os.kill(next(iter(cluster.workers.values())).process.pid, signal.SIGKILL)
        told.append(done)

    swept = ln.sweep(TABLE, tmp_path / "there", scheduler=cluster.scheduler_address, progress=kill_one)
    assert swept.drop_attrs(deep=False).identical(whole.drop_attrs(deep=False))
    assert told == list(range(4, 49, 4))  # each chunk once


@pytest.mark.slow
def test_a_sweep_begun_on_a_cluster_goes_on_here_and_a_refinement_runs_there(cluster, tmp_path):
    table = {**TABLE, "refine": 1}
    address = cluster.scheduler_address

    def stop(done, total, words=""):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ln.sweep(table, tmp_path / "a", scheduler=address, progress=stop)
    kept = len(list((tmp_path / "a/chunks").glob("*.npz")))
    assert 4 <= kept < 12
    begun = ln.sweep(table, tmp_path / "a", workers=1)
    assert begun.equals(ln.sweep(table, tmp_path / "b", scheduler=address))


@pytest.mark.slow
def test_a_worker_of_another_version_is_refused(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ln, "__version__", "9.9")
    with pytest.raises(ln.InputError, match=r"the worker tcp://.* has labelnoise 0.1.0, this sweep is of 9.9; install"):
        ln.sweep(TABLE, tmp_path / "a", scheduler=cluster.scheduler_address)
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(module, "_check_versions", lambda client: None)  # as if the worker had joined later
    with pytest.raises(ln.InputError, match=r"a worker has labelnoise 0.1.0, this sweep is of 9.9"):
        ln.sweep(TABLE, tmp_path / "a", scheduler=cluster.scheduler_address)


@pytest.mark.exhaustive
def test_a_scheduler_that_is_lost_and_a_chunk_that_kills_are_one_sentence(tmp_path, monkeypatch):
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as running:
        told = []

        def close(done, total, words=""):
            told.append(done)
            running.close()

        with pytest.raises(ln.InputError, match="the scheduler .* was lost"):
            ln.sweep(TABLE, tmp_path / "a", scheduler=running.scheduler_address, progress=close)
        assert len(list((tmp_path / "a/chunks").glob("*.npz"))) == len(told) >= 1
    monkeypatch.setattr(execution.Plan, "chunk", lambda plan, at: Deadly())
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as running,
        pytest.raises(ln.InputError, match="a chunk ended 4 workers"),
    ):
        ln.sweep({**TABLE, "grid": {"n": [10, 20]}}, tmp_path / "b", scheduler=running.scheduler_address)


@pytest.mark.slow
def test_who_waits_for_a_worker_is_told(tmp_path):
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0") as running:
        told = []

        def progress(done, total, words=""):
            if words and not told:
                running.scale(1)
            told.append(words)

        table = {**TABLE, "grid": {"n_snr2": [4]}}
        assert ln.sweep(table, tmp_path / "a", scheduler=running.scheduler_address, progress=progress).seed.size == 8
        assert told[0] == f"waiting for a worker of {running.scheduler_address}"


class Deadly:
    """A chunk that ends the process that looks at it; not at once, for a nanny gives up what hardly started."""

    @property
    def names(self):
        time.sleep(1)
        os._exit(1)
