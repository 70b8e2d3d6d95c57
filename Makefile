# Everything starts from a machine with Python >= 3.11 and make: the virtual environment is built when it is missing,
# and again when pyproject.toml or constraints.txt change.

VENV ?= .venv
# The CPU build of torch: the default build on Linux brings gigabytes of CUDA. For a GPU: make TORCH_INDEX= ...
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := $(VENV)/bin
STAMP := $(VENV)/.retinamatch-installed
EXAMPLES := modeling/retinamatch/examples
IS_RECENT := import sys; sys.exit(sys.version_info < (3, 11))

SMOKE := build/train-smoke
# Processes that run the tests, with a thread each: more wait for each other.
WORKERS ?= 2
# The folder of the data set, and where downloads of its sources lie; without one, rendered eyes alone.
DATASET ?= build/dataset
DATA ?= $(RETINAMATCH_DATA)
TEACHER := $(BIN)/accelerate launch --cpu --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no \
	-m train.teacher --config train/recipes/small.yaml --data '[$(SMOKE)/pack]' \
	--output_dir $(SMOKE)/run --steps 4 --batch_size 1 --validation_pairs 2

# For annotate: photographs, or the Parquet files of a configuration; and where one person's work goes.
FOLDER ?= modeling/retinamatch/examples
ANNOTATOR ?= $(or $(USER),me)
# Not under out/, which `make clean` removes.
ANNOTATIONS ?= runs/annotations/$(ANNOTATOR)
# For demo.
PORT ?= 7860

# No command of these targets may ask the network for a model.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help setup match test test-slow lint format dataset train-smoke figures annotate demo clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## build the virtual environment (VENV, default .venv)

match: $(STAMP)  ## register the example pair; pictures go to out/match
	$(BIN)/retinamatch register $(EXAMPLES)/moving.jpg $(EXAMPLES)/fixed.jpg --out out/match

test: $(STAMP)  ## run the tests (RETINAMATCH_DATA names the folder of real photographs)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: $(STAMP)  ## run the tests that take long, which `make test` leaves out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

lint: $(STAMP)  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dataset: $(STAMP)  ## build the data set into DATASET: rendered eyes, and the sources found in DATA
	$(BIN)/python -m datasets_scripts.build $(DATA) --out $(DATASET)

train-smoke: $(STAMP)  ## four training steps on rendered photographs: stop after two, resume
	rm -rf $(SMOKE)
	$(BIN)/python -m datasets_scripts.build --rendered 4 --unlabeled 0 --visits 0 --people 0 --measured 0 --test-fraction 0 \
		--validation-fraction 0.25 --size 256 --out $(SMOKE)/pack
	$(TEACHER) --stop_at 2
	$(TEACHER) --resume

figures: $(STAMP)  ## render the tables of README and cards from modeling/figures, which commands wrote
	$(BIN)/python -m train.figures

annotate: $(STAMP)  ## set keypoints by hand in the browser: FOLDER of photographs, ANNOTATIONS, ANNOTATOR
	$(BIN)/python -m datasets_scripts.annotate $(FOLDER) --out $(ANNOTATIONS) --annotator "$(ANNOTATOR)"

demo: $(STAMP)  ## serve the web page at http://127.0.0.1:7860 (PORT); asks no network
	$(BIN)/python -m space.app --port $(PORT)

clean:  ## remove results and caches, keep the virtual environment
	rm -rf $(SMOKE) dist out .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	@python=$(PYTHON); \
	for candidate in $${python:-python3 python3.12 python3.11 python}; do \
		if $$candidate -c '$(IS_RECENT)' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "retinamatch needs Python 3.11 or newer; none was found. Name one: make PYTHON=/path/to/python3.11" >&2; \
		exit 2; \
	fi; \
	echo "Creating $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV) || { \
		echo "The virtual environment $(VENV) could not be made (on Debian: apt install python3-venv)." >&2; \
		rm -rf $(VENV); exit 2; }

# torch alone and first, so that its index is asked for torch only; an index that cannot be reached is passed over.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --retries 1 --no-deps -c constraints.txt \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[torch,export,train,data,space,study,cluster,dicom,itk,dev]'
	@touch $@
