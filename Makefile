# Needs python3, pip and make; everything else is put into .venv and .tools.

PYTHON := .venv/bin/python
READY := .venv/.ready
# Peers live in an environment of their own: where JAX is, SciPy imports it for all.
BENCH := .venv-bench/bin/python
BENCH_READY := .venv-bench/.ready

# What the caller's shell says about other Pythons must not reach this one.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV
# Without its bytecode PyMC takes three times as long to import.
unexport PYTHONDONTWRITEBYTECODE

# Chains run side by side: a threaded BLAS under each would only get in their way.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help demo picture mechanisms test test-slow lint bench clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
		|| grep -E '^[a-z-]+:.*## ' Makefile

demo: $(READY) ## simulate a survey, fit theories, and write a report
	@.venv/bin/bayesmig demo

picture: demo ## draw the README's picture from the demo anew
	@$(PYTHON) docs/picture.py

mechanisms: $(READY) ## write docs/mechanisms.md from the files of models/ anew
	@$(PYTHON) docs/mechanisms.py

test: $(READY) ## run the quick tests
	@$(PYTHON) -m pytest -n 2 --dist loadfile

test-slow: $(READY) ## run the slow tests: recovery, coverage, packaging, more cases
	@$(PYTHON) -m pytest -m slow

lint: $(READY) ## check style and types
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

bench: $(READY) $(BENCH_READY) ## run the benchmarks beside peers, two hours or so, and write the README's table
	@set -e; for file in benchmarks/bench_*.py; do echo "== $$file"; $(PYTHON) "$$file"; done

clean: ## remove the environment, tools, caches and builds
	rm -rf .venv .venv-bench .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find bayesmig tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment without its stamp was left half made, and is made again. A change of
# the requirements takes the stamp away first, so that an interrupted update shows too.
# A uv that is only a shim of another Python's does not answer --version.
$(READY): pyproject.toml constraints.txt .python-version
	@set -e; \
	if uv --version >/dev/null 2>&1; then uv=uv; else \
		uv=.tools/bin/uv; \
		if ! $$uv --version >/dev/null 2>&1; then \
			echo "setting up: uv" >&2; rm -rf .tools; \
			PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --target .tools uv; \
		fi; \
	fi; \
	if [ -e $(READY) ] && $(PYTHON) -c '' 2>/dev/null; then rm -f $(READY); else \
		rm -rf .venv; \
		echo "setting up: .venv" >&2; \
		$$uv venv --quiet --python "$$(cat .python-version)" .venv || { \
			echo "Python $$(cat .python-version) is not to be had; looking for a newer one" >&2; \
			$$uv venv --quiet --no-python-downloads --python '>=3.12' .venv; }; \
	fi; \
	echo "setting up: packages (the first time takes a minute)" >&2; \
	$$uv pip install --quiet --python $(PYTHON) --constraints constraints.txt --build-constraints constraints.txt --editable '.[dev]' || { \
		echo "uv could not; trying pip, which may know a mirror that uv does not" >&2; \
		PIP_ROOT_USER_ACTION=ignore python3 -m pip --python $(PYTHON) install --quiet --constraint constraints.txt --editable '.[dev]'; }; \
	touch $(READY)

# The same versions as above, and peers beside them; one that cannot be had is left out.
$(BENCH_READY): $(READY) benchmarks/peers.txt
	@set -e; \
	if uv --version >/dev/null 2>&1; then uv=uv; else uv=.tools/bin/uv; fi; \
	rm -rf .venv-bench; \
	echo "setting up: .venv-bench (the first time takes a minute)" >&2; \
	$(PYTHON) -m venv --without-pip .venv-bench; \
	install() { \
		$$uv pip install --quiet --python $(BENCH) --constraints constraints.txt --build-constraints constraints.txt "$$@" || \
		PIP_ROOT_USER_ACTION=ignore python3 -m pip --python $(BENCH) install --quiet --constraint constraints.txt "$$@"; \
	}; \
	install --editable .; \
	install --requirement benchmarks/peers.txt || \
		for peer in $$(cat benchmarks/peers.txt); do install "$$peer" || echo "left out: $$peer" >&2; done; \
	touch $(BENCH_READY)
