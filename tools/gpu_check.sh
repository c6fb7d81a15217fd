#!/usr/bin/env bash
# Checks splatview on a CUDA machine that has nothing but a driver, Python and the CUDA toolkit: installs what is missing, runs the
# GPU tests and the benchmark, and writes one report with their tables.
#
#     tools/gpu_check.sh [WHEELS] [REPORT]
#
# WHEELS: a folder of wheels to install from, without any index (for a machine without a network). REPORT: gpu_check.md by default.
# Exit code: 0; 2 if this machine cannot run the checks (one line says why); else that of the checks that failed.
set -euo pipefail
cd "$(dirname "$0")/.."
WHEELS=${1:-}
REPORT=$(realpath -m "${2:-gpu_check.md}")
VENV=$(realpath -m "${SPLATVIEW_GPU_VENV:-.venv-gpu}")

fail() { echo "gpu_check: $1" >&2; exit 2; }
say() { echo "gpu_check: $1" >&2; }
if ! nvidia-smi -L >/dev/null 2>&1; then fail "expected an NVIDIA GPU with its driver; nvidia-smi finds none"; fi
if [ -n "$WHEELS" ] && [ ! -d "$WHEELS" ]; then fail "expected a folder of wheels, got $WHEELS"; fi
SOURCE=()
if [ -n "$WHEELS" ]; then SOURCE=(--no-index --find-links "$(realpath "$WHEELS")"); fi

install() { pip install --quiet --disable-pip-version-check "${SOURCE[@]}" "$@" || fail "could not install: $*"; }
has() { python -c "import $1" 2>/dev/null; }
sees_gpu() { python -c "import torch; assert torch.cuda.is_available()" 2>/dev/null; }

# The machine's own packages are used where it has them: its PyTorch fits its driver. They may lie in an environment themselves.
OUTER=$(python3 -c 'import site, sys; print(*site.getsitepackages() if sys.prefix != sys.base_prefix else (), sep="\n")')
[ -x "$VENV/bin/python" ] || python3 -m venv --system-site-packages "$VENV" || fail "could not make a virtual environment in $VENV"
echo "$OUTER" >"$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/outer.pth"
export PATH="$VENV/bin:$PATH"
sees_gpu || install "torch>=2.6"
sees_gpu || fail "PyTorch sees no GPU; install its build for this driver: $(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1)"
for module in scikit_build_core nanobind triton gsplat pytest hypothesis scipy diffusers transformers peft accelerate safetensors; do has $module || install "${module//_/-}"; done
has xdist || install pytest-xdist
for tool in cmake ninja; do command -v $tool >/dev/null || install $tool; done
command -v nvcc >/dev/null || has gsplat.csrc || say "no nvcc on the path: gsplat cannot compile its kernels unless CUDA_HOME names a toolkit"
say "building splatview"
install --no-build-isolation -C "cmake.define.nanobind_DIR=$(python -m nanobind --cmake_dir)" -e ".[cuda]"

TORCH_CUDA_ARCH_LIST=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1)
export TORCH_CUDA_ARCH_LIST
say "drawing a first picture, for which gsplat compiles its kernels: minutes, the first time"
{
    echo "# GPU check, $(date -u +%Y-%m-%d)"
    echo
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    printf '\n```\n'
    splatview doctor || true  # what does not work fails the tests below
    printf '```\n\n## pytest -m gpu\n\n```\n'
} | tee "$REPORT"
status=0
python -m pytest -m gpu -n 0 --tb=short tests/test_render*_gpu.py tests/test_stylize_gpu.py 2>&1 | tee -a "$REPORT" || status=$?
printf '```\n\n' >>"$REPORT"
python tools/bench.py --device cuda --only target --dry | tee -a "$REPORT" || status=$?
python tools/bench.py --device cuda --only gaussians --dry | tee -a "$REPORT" || status=$?
python tools/bench.py --device cuda --only fields --dry | tee -a "$REPORT" || status=$?
faster="graphs compile"
if has tensorrt; then faster="$faster tensorrt"; fi
python tools/bench_diffusion.py --device cuda --sizes 512 --steps 1 4 --accelerators eager $faster | tee -a "$REPORT" || status=$?
say "wrote $REPORT"
exit $status
