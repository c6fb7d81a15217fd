#!/usr/bin/env bash
# Checks splatview on a CUDA machine that has nothing but a driver, Python and a compiler: installs what is missing, runs the GPU
# tests and the benchmark, and writes one table.
#
#     tools/gpu_check.sh [WHEELS] [TABLE]
#
# WHEELS: a folder of wheels to install from, without any index (for a machine without a network). TABLE: gpu_check.md by default.
set -euo pipefail
cd "$(dirname "$0")/.."
WHEELS=${1:-}
TABLE=$(realpath -m "${2:-gpu_check.md}")
VENV=${SPLATVIEW_GPU_VENV:-.venv-gpu}

fail() { echo "gpu_check: $1" >&2; exit 2; }
command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1 || fail "expected an NVIDIA GPU with its driver; nvidia-smi finds none"
[ -z "$WHEELS" ] || [ -d "$WHEELS" ] || fail "expected a folder of wheels, got $WHEELS"

install() {
    if [ -n "$WHEELS" ]; then
        "$VENV/bin/pip" install --quiet --no-index --find-links "$WHEELS" "$@"
    else
        "$VENV/bin/pip" install --quiet "$@"
    fi
}
has() { "$VENV/bin/python" -c "import $1" 2>/dev/null; }

# A torch that the machine has is used as it is: it fits the driver.
[ -x "$VENV/bin/python" ] || python3 -m venv --system-site-packages "$VENV"
"$VENV/bin/python" -c "import torch; assert torch.cuda.is_available()" 2>/dev/null || install "torch>=2.6"
"$VENV/bin/python" -c "import torch; assert torch.cuda.is_available()" || fail "PyTorch sees no GPU: install the build for this driver first"
for package in scikit_build_core nanobind; do has $package || install "${package//_/-}"; done
has ninja || install ninja || true
for package in triton gsplat pytest xdist hypothesis scipy; do
    has $package || install "$( [ $package = xdist ] && echo pytest-xdist || echo $package )"
done
install --no-build-isolation -e ".[cuda]"

{
    echo "# GPU check, $(date -u +%Y-%m-%d)"
    echo
    echo '```'
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    "$VENV/bin/splatview" doctor
    echo '```'
    echo
    echo '## pytest -m gpu'
    echo
    echo '```'
} >"$TABLE"
status=0
"$VENV/bin/pytest" -m gpu -n 0 tests/test_render_gpu.py 2>&1 | tee -a "$TABLE" || status=$?
{
    echo '```'
    echo
    echo '## tools/bench.py --device cuda'
    echo
} >>"$TABLE"
"$VENV/bin/python" tools/bench.py --device cuda --dry --viewer 2>&1 | tee -a "$TABLE" || status=$?
echo "gpu_check: $TABLE" >&2
exit $status
