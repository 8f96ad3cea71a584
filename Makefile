# Everything from a checkout. `make up` and `make test` need Python 3.11 or newer and nothing else:
# they use uv when it is there and otherwise put it into .venv.
# Flags pass as ARGS, and so do signals and failures: make up ARGS="--port 9000"

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
export UV_SYSTEM_CERTS := true

ARGS ?=
PYTHON := .venv/bin/python
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .venv/bin/uv)
DATA_DIR := $(or $(MCPHUB_DATA_DIR),$(CURDIR)/var)

# A setting that nobody meets: enough for Django's deployment checks of a cloud installation.
CLOUD := MCPHUB_MODE=cloud MCPHUB_SERVER_URL=https://hub.example MCPHUB_ALLOWED_HOSTS=hub.example \
	MCPHUB_DATABASE_URL=postgresql://hub@127.0.0.1/hub MCPHUB_REDIS_URL=redis://127.0.0.1:6379/0 \
	MCPHUB_SIGN_IN=password \
	MCPHUB_SECRET_KEY=check-only-Zq8vN2rT5yLw9pXc3mKd7sHj4bGf6aEu1oRiQ0tY \
	MCPHUB_ENCRYPTION_KEYS=check-only-Wm4tB8nQ2kVx7zLp5cYr9dJh3gSf6aEu1oTi

.PHONY: help up dev test check bench bench-peers soak conformance cover mutants dist image

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

up: .venv/.runtime ## the hub on http://127.0.0.1:8080, its data in ./var
	@MCPHUB_DATA_DIR="$(DATA_DIR)" exec $(PYTHON) manage.py up $(ARGS)

dev: .venv/.runtime ## the same, started anew whenever a source file changes
	@MCPHUB_DATA_DIR="$(DATA_DIR)" exec .venv/bin/watchfiles \
		"$(PYTHON) manage.py up $(ARGS)" mcphub audit upstreams policies gateway templates static

test: .venv/.ready ## the whole suite; MCPHUB_TEST_DATABASE=postgresql runs it on a private PostgreSQL
	@exec $(PYTHON) -m pytest $(ARGS)

cover: .venv/.ready ## the suite with a table of the lines that it did not reach
	@exec $(PYTHON) -m pytest --cov --cov-report=term-missing:skip-covered $(ARGS)

mutants: .venv/.ready ## do the tests notice when policy decides differently? ARGS="--sample 7" tries a tenth
	@$(UV) sync --quiet --frozen --inexact --group mutation
	@exec $(PYTHON) -m tests.mutation $(ARGS)

check: .venv/.ready ## format, lint, types, import contracts, migrations, deployment checks
	$(UV) lock --check --quiet
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@echo 'manage.py makemigrations --check, check --deploy on cloud settings'
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && export MCPHUB_DATA_DIR="$$scratch" && \
		$(PYTHON) manage.py makemigrations --check --dry-run && \
		$(CLOUD) $(PYTHON) manage.py check --deploy --fail-level WARNING

bench: .venv/.ready ## measure the hub, write docs/benchmark.md
	@$(UV) sync --quiet --frozen --inexact --group bench
	@exec $(PYTHON) -m bench $(ARGS)

bench-peers: .venv/.ready ## compare with other gateways, write docs/benchmark-peers.md
	@$(UV) sync --quiet --frozen --inexact --group bench
	@exec $(PYTHON) -m bench --peers $(ARGS)

soak: .venv/.fuzz ## the long proofs of what the hub survives, an hour and a half; writes docs/reliability.md
	@exec $(PYTHON) -m tests.soak $(ARGS)

conformance: .venv/.ready ## the official protocol suite against the hub, writes docs/conformance.md
	@exec $(PYTHON) -m tests.conformance

dist: .venv/.ready ## wheel, source archive and their checksums in ./dist
	@rm -rf dist
	$(UV) build --quiet --out-dir dist
	@cd dist && sha256sum *.whl *.tar.gz > SHA256SUMS && cat SHA256SUMS

image: ## a container image, mcphub:latest
	docker build --tag mcphub:latest .

# The hub alone is a third of the whole; a first `make up` does not wait for the tools of development.
.venv/.runtime: pyproject.toml uv.lock | .venv/.uv
	@$(UV) sync --quiet --frozen --inexact --no-dev
	@touch $@

.venv/.fuzz: .venv/.ready
	@$(UV) sync --quiet --frozen --inexact --group fuzz
	@touch $@

.venv/.ready: pyproject.toml uv.lock | .venv/.uv
	@$(UV) sync --quiet --frozen --inexact
	@touch $@ .venv/.runtime

.venv/.uv:
	@uv --version >/dev/null 2>&1 || [ -x .venv/bin/uv ] || { \
		for python in python3 python3.14 python3.13 python3.12 python3.11; do \
			"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
		done; \
		[ -n "$$python" ] || { echo 'MCP Hub needs Python 3.11 or newer, and none is on PATH.' >&2; exit 1; }; \
		echo "No uv on PATH: putting it into .venv ($$("$$python" -V))" && \
		{ [ -x $(PYTHON) ] || "$$python" -m venv .venv; } && \
		{ $(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m ensurepip >/dev/null; } && \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check uv; \
	}
