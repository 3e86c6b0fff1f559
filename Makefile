# Each target sets up .venv by itself; nothing but Python 3.11+, make and a package index is needed.
PYTHON ?= python3
VENV := .venv
# uv does not read pip's configuration; a folder of wheels that pip was told of serves it as well (below), and it trusts whom the
# machine trusts, as pip does: behind a company's proxy nothing else works.
export UV_SYSTEM_CERTS ?= true
READY := $(VENV)/.ready
# The commands and the tests start many processes: where Python may not keep what it compiled, each compiles the libraries again.
unexport PYTHONDONTWRITEBYTECODE
AUDIT := $(VENV)/bin/pip-audit --no-deps --disable-pip --progress-spinner off --requirement constraints.txt

.PHONY: demo test bench lint images

demo: $(READY)
	$(VENV)/bin/ditto demo

test: $(READY)
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

bench: $(READY)
	$(VENV)/bin/python -m tests.benchmarks

images: $(READY) # ENGINE="podman ..." in place of docker
	$(VENV)/bin/python -m pytest docker/test_images.py

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint docker/worker.Dockerfile
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	@mkdir -p build && rm -f build/audit.txt # written if the index has advisories, also if one of ours is among them
	@if $(AUDIT) --output build/audit.txt 2> build/audit.log; then \
	  echo "pip-audit: nothing known, $$(grep -cs "could not be audited" build/audit.txt) packages without advisories"; \
	elif [ -e build/audit.txt ]; then cat build/audit.txt; exit 1; \
	else echo "pip-audit: no advisories to be had here"; fi

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.11'
	export UV_FIND_LINKS="$${UV_FIND_LINKS-$${PIP_FIND_LINKS-$$($(VENV)/bin/python -m pip config get global.find-links 2>/dev/null)}}"; \
	$(VENV)/bin/uv pip install --quiet --python $(VENV) --constraint constraints.txt --editable '.[cpu,dev]'
	touch $(READY)
