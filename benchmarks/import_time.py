"""Time of `import labelnoise`, and what it loads.

python benchmarks/import_time.py
"""

from __future__ import annotations

import harness

# isort: split
import subprocess
import sys
import time

import numpy as np

HEAVY = ("torch", "scipy", "matplotlib", "sklearn", "pandas", "numpy")


def seconds(code: str) -> float:
    """Wall time of a fresh interpreter that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Alternate a bare interpreter with one that imports the package."""
    harness.describe("Import of labelnoise")
    pairs = np.array([[seconds("pass"), seconds("import labelnoise")] for _ in range(20)])
    added = np.percentile(pairs[:, 1] - pairs[:, 0], [25, 50, 75])
    print(f"import adds {added[1]:.3f} s [{added[0]:.3f}, {added[2]:.3f}]; goal < 0.5")
    code = f"import labelnoise, sys; print([name for name in {HEAVY} if name in sys.modules])"
    print(
        "loaded of",
        HEAVY,
        ":",
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip(),
    )


if __name__ == "__main__":
    main()
