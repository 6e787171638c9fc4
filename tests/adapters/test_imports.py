"""What an import of the adapters loads: a library comes with its own module alone."""

import subprocess
import sys

import pytest

LIBRARIES = ("torch", "sklearn", "lightning", "pytorch_lightning", "transformers", "skorch")


@pytest.mark.parametrize("name", ["adapters", "adapters.sklearn", "adapters.evaluation"])
def test_no_library_is_loaded_before_it_is_used(name):
    program = f"import sys, labelnoise.{name}; print([name for name in {LIBRARIES!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
