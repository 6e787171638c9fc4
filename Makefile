# Everything is set up by the targets themselves; a second run finds the environment ready.
PYTHON ?= python3
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
# Empty is off: pytest then keeps the tests that it rewrote, which takes each process ten seconds.
export PYTHONDONTWRITEBYTECODE =

.PHONY: reproduce test test-slow test-exhaustive check

reproduce: .venv/ready
	.venv/bin/labelnoise reproduce

test: .venv/ready
	.venv/bin/python -m pytest -n 2 --dist loadfile

test-slow: .venv/ready
	.venv/bin/python -m pytest -n 2 --dist loadfile -m slow

test-exhaustive: .venv/ready
	.venv/bin/python -m pytest -m exhaustive

check: .venv/ready
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/python -m mypy
	.venv/bin/lint-imports --no-cache

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[all,dev]'
	touch .venv/ready
