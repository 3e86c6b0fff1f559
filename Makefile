# Each target sets up .venv by itself; nothing but Python 3.11+, make and a package index is needed.
PYTHON ?= python3
VENV := .venv
# uv does not read pip's configuration; a folder of wheels that pip was told of serves it as well, and it trusts whom the machine
# trusts, as pip does: behind a company's proxy nothing else works.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_SYSTEM_CERTS ?= true
READY := $(VENV)/.ready

.PHONY: demo test bench lint

demo: $(READY)
	$(VENV)/bin/ditto demo

test: $(READY)
	$(VENV)/bin/python -m pytest

bench: $(READY)
	$(VENV)/bin/python -m tests.benchmarks

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint docker/worker.Dockerfile

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.11'
	$(VENV)/bin/uv pip install --quiet --python $(VENV) --constraint constraints.txt --editable '.[cpu,dev]'
	touch $(READY)
