"""What an audit of a folder of images costs and finds, as the command line does it: one line a size.

    python benchmarks/audit_images.py --data-root FOLDER [--sizes 600 2000] [--noise symmetric:0.2]

FOLDER holds fashion-mnist-small.npz (x_train, y_train); LABELNOISE_DATA names it, too. So many of its images are
written as PNG files, in a folder for each given label, and audited by a process of one thread. Seconds are those of the
whole command, with the loading of the libraries.
"""

from __future__ import annotations

import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import labelnoise as ln
from audit import f1, precision
from labelnoise.noise.words import parse_noise


def write_folder(root: Path, n: int, noise: str, folder: Path) -> np.ndarray:
    """Write n images by given label, and return which of the labels are wrong; a file is called by its place."""
    with np.load(root / "fashion-mnist-small.npz", allow_pickle=False) as file:
        images, true = file["x_train"][:n], file["y_train"][:n]
    given = ln.flip_labels(true, parse_noise(noise), int(true.max()) + 1, 0).y_given
    for at, (image, label) in enumerate(zip(images, given, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{at}.png")
    return given != true


def measure(root: Path, n: int, noise: str) -> str:
    """Return one line of the table."""
    with tempfile.TemporaryDirectory() as made:
        folder, out = Path(made) / "images", Path(made) / "out"
        wrong = write_folder(root, n, noise, folder)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "labelnoise.cli", "audit", str(folder), "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        summary, frame = json.loads((out / "summary.json").read_text()), pd.read_csv(out / "suspects.csv")
    at = frame["file"].map(lambda name: int(Path(name).stem)).to_numpy()
    score = precision(frame["score"].to_numpy(), wrong[at])
    low, high = summary["rate_interval"]
    cells = (
        str(n), f"{wrong.mean():.3f}", f"{summary['rate']:.3f} [{low:.3f}, {high:.3f}]", f"{score:.3f}",
        f"{f1(frame['flagged'].to_numpy(), wrong[at]):.3f}", f"{wall:.0f}", f"{cpu:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("LABELNOISE_DATA", "data")))
    parser.add_argument("--sizes", nargs="*", type=int, default=[600, 2000])
    parser.add_argument("--noise", default="symmetric:0.2")
    given = parser.parse_args()
    harness.describe("An audit of a folder of images")
    names = ("images", "wrong", "estimated", "AP", "F1", "s", "CPU s")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)
    for n in given.sizes:
        print(measure(given.data_root, n, given.noise), flush=True)


if __name__ == "__main__":
    main()
