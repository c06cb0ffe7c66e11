#!/usr/bin/env bash
# All that a GPU shows, in under ten minutes: the tests that need one, then docs/results/gpu.md.
#   experiments/bench/gpu_all.sh
# Without a GPU, to see that everything runs:
#   experiments/bench/gpu_all.sh --device cpu --batch 2 --size 64 --calibration-images 4 --steps 1 --seconds 0.1 --out FILE
set -euo pipefail
cd "$(dirname "$0")/../.."
python="${PYTHON:-$(test -x .venv/bin/python && echo .venv/bin/python || echo python)}"
gpu=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "none")')
echo "GPU: $gpu"
if [ "$gpu" != none ]; then
    timeout 200 "$python" -m pytest -n0 -q tests/kernels/test_contract.py tests/layers/test_latency.py \
        tests/layers/test_frequency_layers.py tests/layers/test_transform.py -k 'cuda or gpu or device'
fi
timeout 420 "$python" -m experiments.bench gpu-all --out docs/results/gpu.md "$@"
