"""The recorder: time of an update, its share of an epoch, bytes a sample, what an audit takes, a large plan's parts.

python benchmarks/recorder.py            # two minutes on one core; the tables of docs/recorder.md
"""

from __future__ import annotations

import harness

# isort: split
import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import labelnoise as ln
from labelnoise.arrays import amount
from labelnoise.record.history import BYTES

BATCH = 512
PLAN, PROCESSES = 10**8, 64
"""Samples and processes of the plan."""


def batch_of(n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, logits and labels of one batch."""
    rng = np.random.default_rng(0)
    index = rng.permutation(n)[:BATCH]
    return index, rng.normal(size=(BATCH, n_classes)).astype(np.float32), rng.integers(0, n_classes, BATCH)


def time_updates(rounds: int) -> None:
    """Milliseconds of an update, from arrays and from tensors of the host."""
    print("update, milliseconds a batch of 512 (median [quartiles]):")
    for n_classes in (2, 10, 100, 1_000):
        tasks: dict[str, Callable[[], object]] = {}
        for name, form in (("NumPy", np.asarray), ("torch", torch.as_tensor)):
            recorder, batch = ln.Recorder(50_000, n_classes), [form(part) for part in batch_of(50_000, n_classes)]
            tasks[name] = lambda recorder=recorder, batch=batch: recorder.update(*batch)  # type: ignore[misc]
        seconds = harness.alternate(tasks, rounds)
        for name, values in seconds.items():
            goal = f"; {harness.verdict(float(np.median(1e3 * values)), 0.4, False)}" if n_classes == 10 else ""
            print(f"  {n_classes:5} classes, {name}: {harness.spread(1e3 * values)}{goal}")


def time_epoch(rounds: int) -> None:
    """Share of an update in a training step of a small CNN."""
    model = ln.build_model("small-cnn", n_classes=10, in_channels=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.randn(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    index, _, labels = (torch.as_tensor(part) for part in batch_of(50_000, 10))
    recorder, logits = ln.Recorder(50_000, 10), [model(images).detach()]

    def step() -> None:
        outputs = model(images)
        optimizer.zero_grad()
        cross_entropy(outputs, labels).backward()
        optimizer.step()
        logits[0] = outputs.detach()

    seconds = harness.alternate({"step": step, "update": lambda: recorder.update(index, logits[0], labels)}, rounds)
    share = 100 * seconds["update"] / seconds["step"]
    print("\nsmall-cnn, 28 x 28 images, a batch of 512, training on the CPU:")
    print(f"  step {harness.spread(1e3 * seconds['step'])} ms, update {harness.spread(1e3 * seconds['update'])} ms")
    print(f"  share of an epoch: {harness.spread(share)}%; {harness.verdict(float(np.median(share)), 2, False)}")


def time_monitor(rounds: int, n: int = 2_000) -> None:
    """Share of a monitor's pass over all samples in an epoch of a small CNN."""
    model = ln.build_model("small-cnn", n_classes=10, in_channels=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels, held_out = torch.arange(n) % 10, np.arange(n) % 10 == 0
    data = torch.utils.data.TensorDataset(images, labels)
    monitor = ln.Monitor(model, ln.Recorder(n, 10, held_out=held_out, history=False), data)

    def epoch() -> None:
        model.train()
        for batch in torch.as_tensor(np.flatnonzero(~held_out)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()

    seconds = harness.alternate({"epoch": epoch, "monitor": monitor.end_epoch}, rounds)
    share = 100 * seconds["monitor"] / seconds["epoch"]
    print(f"\na monitor, small-cnn, {n:,} images of 28 x 28, a tenth held out, batches of 64:")
    print(f"  epoch {harness.spread(seconds['epoch'])} s, `end_epoch` {harness.spread(seconds['monitor'])} s")
    print(f"  share of an epoch: {harness.spread(share)}%")


def filled(recorder: ln.Recorder, epochs: int) -> ln.Recorder:
    """Epochs in which every sample is seen: one through `update`, the rest is filled in as a batch would leave it."""
    for epoch in range(epochs):
        recorder.update([0], np.eye(1, recorder.n_classes), [0])
        columns = recorder._epoch._columns  # type: ignore[union-attr]
        for column, value in zip(columns, (epoch - 50, 1 + abs(epoch - 10), epoch % recorder.n_classes), strict=True):
            column[:] = value
        del column, columns
        recorder.end_epoch()
    return recorder


def measure_memory(n: int, epochs: int = 100, n_classes: int = 1_000) -> None:
    """Bytes a sample without history, and what one epoch of the history costs to read."""
    out = np.arange(n) % 10 == 0
    filled(ln.Recorder(10, 2), 1)  # modules that the first update loads
    tracemalloc.start()
    recorder = filled(ln.Recorder(n, n_classes, held_out=out, history=False), epochs)
    recorder.update([0], np.eye(1, n_classes), [0])
    held, peak = (size / n for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    print(f"\nmemory without history, n = {n:,}, {n_classes:,} classes, {epochs} epochs, a tenth held out:")
    print(f"  {held:.1f} bytes a sample in an open epoch ({recorder.bytes_a_sample:.0f} stated), at most {peak:.1f}")
    print(f"  {harness.verdict(peak, 40, False)}; with history {BYTES} bytes more a sample and epoch")
    small = filled(ln.Recorder(100_000, 10), 100)
    tasks = {"margin[-1]": lambda: small.margin[-1], "np.asarray(margin)": lambda: np.asarray(small.margin)}
    print("\nreading a history of 100,000 samples and 100 epochs:")
    for name, values in harness.alternate(tasks, 10).items():
        print(f"  {name}: {harness.spread(1e3 * values)} ms")


def measure_audit(rounds: int) -> None:
    """What judging a record takes beyond it: bytes a sample, and seconds."""
    print("\njudging a record (`suspects`), about a fifth of the labels wrong:")
    for n, epochs, n_classes, share in ((200_000, 25, 10, 0.1), (200_000, 50, 10, 0.1), (50_000, 5, 1_000, 1.0)):
        task = partial(ln.suspects, noisy_record(n, epochs, n_classes, share))
        seconds = harness.alternate({"suspects": task}, rounds)["suspects"]
        tracemalloc.start()
        task()
        peak = tracemalloc.get_traced_memory()[1] / n
        tracemalloc.stop()
        print(f"  n = {n:,}, {epochs} epochs, {n_classes:,} classes, {share:.0%} held out: {harness.spread(seconds)} s")
        print(f"    {peak:.0f} bytes a sample, {BYTES * epochs} of them a copy of the history")


def noisy_record(n: int, epochs: int, n_classes: int, held_out: float) -> ln.Recorder:
    """Wrong labels are memorised in the second half, and the outputs of held-out samples grow with no reason."""
    rng, everyone = np.random.default_rng(0), np.arange(n)
    true, outside = rng.integers(n_classes, size=n), rng.random(n) < held_out
    given = np.where(rng.random(n) < 0.2, rng.integers(n_classes, size=n), true)
    ease, recorder = rng.normal(4, 2, n), ln.Recorder(n, n_classes, held_out=outside)
    for epoch in range(1, epochs + 1):
        late = max(0.0, epoch - epochs / 2)
        for batch in np.array_split(everyone, max(n * n_classes // 10**7, 1)):
            rows, logits = np.arange(batch.size), rng.standard_normal((batch.size, n_classes), dtype=np.float32)
            logits[rows, true[batch]] += ease[batch]
            logits[rows, given[batch]] += 0.5 * late * ~outside[batch]
            logits *= 1 + 0.1 * late * outside[batch, None]
            recorder.update(batch, logits, given[batch])
        recorder.end_epoch()
    return recorder


def measure_plan(rounds: int) -> None:
    """The parts of a plan: one process's shard as it would be, and a united record of four of them."""
    n, parts = PLAN // PROCESSES, 4
    shard, united = (
        ln.Recorder(size, 1_000, held_out=np.arange(size) % 10 == 0, history=False) for size in (n, parts * n)
    )
    filled(shard, 30)
    state = shard.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"
        tasks: dict[str, Callable[[], object]] = {
            "end_epoch": lambda: filled(shard, 1),
            "state_dict": shard.state_dict,
            "write": lambda: np.savez(path, **state),
            "read": lambda: load(path),
        }
        seconds = harness.alternate(tasks, rounds)
        size = path.stat().st_size
    state = shard.state_dict()
    merges = []
    for part in range(parts):
        start = time.perf_counter()
        united.merge(shard, index=np.arange(part * n, (part + 1) * n))
        merges.append(time.perf_counter() - start)
    print(f"\nparts of a plan, {PLAN:,} samples over {PROCESSES} processes, {n:,} each, 1,000 classes, no history:")
    for name, values in seconds.items():
        print(f"  {name}: {harness.spread(values)} s a process")
    later = np.array(merges[1:])
    print(f"  merge of one process: {harness.spread(later)} s (the first, which makes room: {merges[0]:.2f} s)")
    print(f"  a process: {amount(shard.bytes_a_sample * n)} of memory, {amount(size)} of state")
    print(f"  all: {amount(united.bytes_a_sample * PLAN)} of memory, {amount(size * PROCESSES)} of states")
    print(f"  {PROCESSES} merges, one after the other: {PROCESSES * np.median(later):.0f} s; "
          f"{PROCESSES} states read by one process: {PROCESSES * np.median(seconds['read']):.0f} s")  # fmt: skip


def load(path: Path) -> ln.Recorder:
    """A recorder from a file."""
    with np.load(path, allow_pickle=False) as state:
        arrays = dict(state)
    recorder = ln.Recorder(len(arrays["given"]), 1_000, history=False)
    recorder.load_state_dict(arrays)
    return recorder


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="timed updates; others take fewer")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(harness.THREADS)
    harness.describe("Recorder")
    time_updates(rounds)
    time_epoch(max(rounds // 20, 3))
    time_monitor(max(rounds // 40, 3))
    measure_memory(1_000_000)
    measure_audit(max(rounds // 60, 3))
    measure_plan(max(rounds // 60, 3))


if __name__ == "__main__":
    main()
