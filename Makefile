# Every target sets up what it needs in .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
# The kernel's lines of code may only become fewer; the aim is 4,000.
KERNEL_LINES := 5745

.PHONY: demo test lint bench torture fuzz clean

$(VENV)/.installed: pyproject.toml requirements.txt requirements-dev.txt constraints.txt $(wildcard plugins_builtin/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -r requirements.txt -r requirements-dev.txt
	touch $@

# Two synthetic people, a short training that visibly learns, a preview and a swap sheet.
demo: $(VENV)/.installed
	$(BIN)/fs demo $(DEMO)

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/imports.py
	$(BIN)/python .ci/house.py --check --most $(KERNEL_LINES)

bench: $(VENV)/.installed
	$(BIN)/fs bench $(ARGS)

# Hundreds of kills and thousands of power cuts; goes on where it was interrupted.
torture: $(VENV)/.installed
	$(BIN)/python tests/torture/torture.py $(ARGS)

# A hundred thousand broken and hostile inputs, then as many that look for new paths in the code
# (atheris has wheels for Linux and macOS only, so nothing else needs it).
fuzz: $(VENV)/.installed
	FS_FUZZ=11000 $(BIN)/python -m pytest tests/torture/test_fuzz.py $(ARGS)
	$(BIN)/python -m pip install -q -c constraints.txt atheris
	for target in png header config state manifest weights skeleton network; do \
	  $(BIN)/python tests/torture/guided.py $$target -runs=12500 -timeout=10 -rss_limit_mb=4096 || exit 1; \
	done

clean:
	rm -rf $(VENV) demo
