# Two commands: `make demo` and `make test`. Both set up all they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check
PROFILE := profiles/reference-notes.yaml
BUNDLE := build/reference-notes
VISIT := profiles/data/clinical-sample/demo/visit.txt

export PYTHONHASHSEED := 0

.PHONY: demo test ready apt lint bench bench-app bench-fleet bench-tvm clean strace screen sshd fleet-servers adapt quality app screenshots

$(VENV)/.ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "edge needs Python 3.11 as '$(PYTHON)'; name another with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

# After the first, since pip writes into this folder for both.
.venv-optimum/.ready: pyproject.toml | $(VENV)/.ready
	$(PYTHON) -m venv .venv-optimum
	.venv-optimum/bin/python -m pip install $(PIP_FLAGS) -e '.[optimum]'
	@touch $@

.venv-peers/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-peers
	CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON -DLLAVA_BUILD=OFF" \
	  .venv-peers/bin/python -m pip install $(PIP_FLAGS) -e '.[peers]'
	@touch $@

.venv-genai/.ready: benchmarks/requirements-genai.txt
	$(PYTHON) -m venv .venv-genai
	.venv-genai/bin/python -m pip install $(PIP_FLAGS) -r benchmarks/requirements-genai.txt
	@touch $@

demo: $(VENV)/.ready
	@echo "== 1/4 plan: does it fit?"
	$(BIN)/edge plan $(PROFILE)
	@echo "== 2/4 build: checkpoint to signed bundle"
	$(BIN)/edge build $(PROFILE)
	@echo "== 3/4 verify: prove it on this machine"
	$(BIN)/edge verify $(BUNDLE) --html build/reference-notes.html
	@echo "== 4/4 run: draft a note from a real visit's transcript"
	$(BIN)/edge run $(BUNDLE) --task note $(VISIT)

# strace shows that no library opens a socket behind Python's back. Without root or apt the test says so and skips.
strace:
	@command -v strace >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update && apt-get -qq install -y --no-install-recommends strace >/dev/null; } \
	  || echo "strace is not installed: one egress test will be skipped"

# For the bedside app's tests: pixels without a screen (EGL, llvmpipe), a virtual screen, a robot's hand, a PDF reader.
SCREEN_PACKAGES := libegl1 libegl-mesa0 libgbm1 libgl1-mesa-dri libgl1 xvfb xdotool poppler-utils
screen:
	@ldconfig -p | grep -q libEGL.so.1 && command -v Xvfb >/dev/null && command -v xdotool >/dev/null && command -v pdftotext >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update && apt-get -qq install -y --no-install-recommends $(SCREEN_PACKAGES) >/dev/null; } \
	  || { echo "install these packages first: $(SCREEN_PACKAGES)"; exit 1; }

# For the tests of devices over ssh: a real sshd on loopback, as the current user.
sshd:
	@command -v sshd >/dev/null || [ -x /usr/sbin/sshd ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update && apt-get -qq install -y --no-install-recommends openssh-server openssh-client >/dev/null; } \
	  || echo "openssh-server is not installed: the tests of devices over ssh will be skipped"

# For the tests of the fleet: a real broker, a real database, a real browser.
fleet-servers:
	@missing=""; \
	command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing="$$missing mosquitto"; \
	command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	[ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update \
	  && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; } \
	  || echo "the tests that need these will be skipped, install them first:$$missing"

# Two processes, each on a core of its own; tests/conftest.py says what stays together.
SIDE_BY_SIDE := -n 2 --dist loadgroup

# apt does one thing at a time; beside it the second environment is made and the first one lints.
apt:
	@$(MAKE) --no-print-directory -j1 strace screen sshd fleet-servers

ready: $(VENV)/.ready .venv-optimum/.ready apt lint

test:
	@$(MAKE) --no-print-directory -j3 ready
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow"
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "slow and not alone"
	$(BIN)/python -m pytest -m alone

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The bedside app with the reference models and sample patients.
APP_BUNDLES := build/reference-notes build/reference-differential
app: $(VENV)/.ready
	@test -d build/reference-notes || $(BIN)/edge build profiles/reference-notes.yaml
	@test -d build/reference-differential || $(BIN)/edge build profiles/reference-differential.yaml
	$(BIN)/edge app $(APP_BUNDLES) --samples

# Every screen, light and night, in three sizes, into docs/screens.
screenshots: $(VENV)/.ready screen
	$(BIN)/python -m benchmarks.make_screenshots docs/screens

# Frame gap under load, memory, start: the app's figures in the README. Needs a quiet machine.
bench-app: $(VENV)/.ready screen
	@test -d $(BUNDLE) || $(BIN)/edge build $(PROFILE)
	$(BIN)/python -m benchmarks.run_app --bundle $(BUNDLE)

# Needs a quiet machine: a core taken by something else slows the engines differently. `make bench SHAPE=smollm2`.
SHAPE := all
bench: $(VENV)/.ready .venv-peers/.ready .venv-genai/.ready
	@test -d $(BUNDLE) || $(BIN)/edge build $(PROFILE)
	.venv-peers/bin/python benchmarks/run_peers.py --shape $(SHAPE) --json build/peers.json

# The fleet: nothing lost over kill -9, messages a second, what a connection costs, how far a bad build gets.
bench-fleet: $(VENV)/.ready fleet-servers
	$(BIN)/python -m benchmarks.run_fleet_crash
	$(BIN)/python -m benchmarks.run_collector
	$(BIN)/python -m benchmarks.run_fleet_scale
	$(BIN)/python -m benchmarks.run_rollout
	$(BIN)/python -m benchmarks.run_fleet_page

# The tvm engine against the ONNX engine on the same weights, and how long a 1B shape takes to compile.
bench-tvm: $(VENV)/.ready
	@test -d $(BUNDLE) || $(BIN)/edge build $(PROFILE)
	@test -d build/reference-notes-mlc || $(BIN)/edge build profiles/reference-notes-mlc.yaml
	$(BIN)/python -m benchmarks.run_tvm --threads 1
	$(BIN)/python -m benchmarks.run_tvm --threads 2
	$(BIN)/python -m benchmarks.run_tvm --compile profiles/llama-3.2-1b-pi5-mlc.yaml

.venv-adapt/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-adapt
	.venv-adapt/bin/python -m pip install $(PIP_FLAGS) -e '.[adapt]'
	@touch $@

# Trains an adapter anew: make adapt RECIPE=profiles/recipes/reference-notes.yaml DATA=folder-of-the-data-sets
RECIPE := profiles/recipes/reference-notes.yaml
adapt: .venv-adapt/.ready
	@test -n "$(DATA)" || { echo "name the folder of the data sets: make adapt DATA=..."; exit 1; }
	.venv-adapt/bin/edge adapt $(RECIPE) --data $(DATA)

# Every quality figure of the README: builds the base model and both reference models, asks all of them the same.
quality: $(VENV)/.ready
	@test -n "$(DATA)" || { echo "name the folder of the data sets: make quality DATA=..."; exit 1; }
	$(BIN)/python benchmarks/run_quality.py --data $(DATA) --out build/quality

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
