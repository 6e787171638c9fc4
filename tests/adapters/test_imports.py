"""What an import of the adapters loads: a library comes with its own module alone."""

import importlib
import subprocess
import sys

import pytest

LIBRARIES = ("torch", "sklearn", "lightning", "pytorch_lightning", "transformers", "skorch")


@pytest.mark.parametrize("name", ["adapters", "adapters.sklearn", "adapters.evaluation"])
def test_no_library_is_loaded_before_it_is_used(name):
    program = f"import sys, labelnoise.{name}; print([name for name in {LIBRARIES!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "library"),
    [("skorch", "skorch"), ("skorch", "torch"), ("lightning", "lightning"), ("transformers", "transformers")],
)
def test_an_adapter_without_its_library_says_which_extra_brings_it(name, library, monkeypatch):
    for each in list(sys.modules):  # of a library that a test has loaded, its modules would be found
        if each.split(".")[0] in set(LIBRARIES) - {"torch"} or each == f"labelnoise.adapters.{name}":
            monkeypatch.delitem(sys.modules, each)
    for absent in {library, *(["pytorch_lightning"] if library == "lightning" else [])}:
        monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(ModuleNotFoundError) as refusal:
        importlib.import_module(f"labelnoise.adapters.{name}")
    said = f"labelnoise.adapters.{name} needs {library};"
    assert str(refusal.value).startswith(said) and "pip install 'labelnoise[adapters]'" in str(refusal.value)
    assert "\n" not in str(refusal.value) and refusal.value.__cause__ is None
