"""Fixtures that several files share."""

import os

import pytest

# Before NumPy loads: a process that is forked cannot start the threads of its parent again, and would wait for ever.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# Equal runs are compared to the bit and processes are forked: both on the CPU. CONTRIBUTING says how to test a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def world():
    """Where the commands of `tiny` are run."""
    import tiny

    with tiny.world():
        yield


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sketched(monkeypatch):
    """Figures are made, and not drawn, where the page around them is what is tested."""
    from matplotlib.figure import Figure

    from tiny import sketch

    monkeypatch.setattr(Figure, "savefig", sketch)


@pytest.fixture
def one_thread():
    """One torch thread, so that equal runs are equal to the bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
