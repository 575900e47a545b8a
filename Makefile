# Two commands set everything up: `make up` and `make test`. Both are idempotent, and need no network
# once they have run. The command line is left at .venv/bin/neon-compose.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: up test chaos bench down wheel images clean
.DELETE_ON_ERROR:

up: $(VENV)/.installed
	@$(BIN)/neon-compose up -d

down: $(VENV)/.installed
	@$(BIN)/neon-compose down

# Engine and images first, by the package's own code. Where there is no engine and nobody insists,
# the tests that need one are skipped. ARGS goes to pytest: make test ARGS='-k shim'
test: $(VENV)/.dev
	@$(BIN)/python -m neon_compose.engine || { status=$$?; \
	  [ $$status = 5 ] && [ "$${REQUIRE_DOCKER:-0}" != 1 ] || exit $$status; \
	  echo "going on without a Docker engine: tests that need one are skipped"; }
	@tests/check.sh $(ARGS)

# The tests of chance again, with large numbers and a new seed: minutes to hours. SEED=n repeats one.
chaos: $(VENV)/.dev
	@$(BIN)/python -m neon_compose.engine
	@CHAOS=1 REQUIRE_DOCKER=1 $(BIN)/python -m pytest -m chaos --timeout=14400 $(ARGS)

bench: $(VENV)/.dev
	@$(BIN)/python -m tests.bench $(ARGS)

images: $(VENV)/.installed
	@$(BIN)/python -m neon_compose.engine

wheel: $(VENV)/.installed
	@$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist . && ls -1 dist/*.whl

clean:
	rm -rf $(VENV) dist build

# A stamp is newer than pyproject.toml when all it asks for is installed.
$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo "python environment: installing neon-compose into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/pip
	@echo "python environment: installing neon-compose and its development tools into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(BIN)/pip:
	@tests/venv.sh $(PYTHON) $(VENV)
