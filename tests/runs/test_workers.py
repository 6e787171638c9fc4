"""Worker processes: they need no guarded script, and end with the process that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelnoise.runs.workers import cores

SCRIPT = """
import os, time
from labelnoise.runs.workers import worker_pool

print("started", flush=True)
with worker_pool(2) as pool:
    print(pool.submit(os.getpid).result(), pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""
"""Without a guard: a process that ran it again would start processes of its own."""


def test_workers_end_with_a_main_process_that_is_killed(tmp_path):
    """Else they would go on writing into a folder in which the run is resumed."""
    (tmp_path / "main.py").write_text(SCRIPT)
    main = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stdout=subprocess.PIPE, text=True)
    assert main.stdout.readline() == "started\n"
    worker, threads = map(int, main.stdout.readline().split())
    assert worker != main.pid and threads == 1
    os.kill(worker, 0)  # alive
    main.kill()
    assert main.stdout.read() == ""
    main.wait()
    main.stdout.close()
    for _ in range(200):
        if not Path(f"/proc/{worker}").exists() or "\tZ" in Path(f"/proc/{worker}/status").read_text():
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


def test_without_affinity_all_cores_count(monkeypatch):
    """As on macOS and Windows, where a process cannot ask which cores it may use."""
    assert cores() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "cpu_count", lambda: 17)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 17
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
