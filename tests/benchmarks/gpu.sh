#!/usr/bin/env bash
# All that a GPU changes, in less than eight minutes on one NVIDIA GPU: pair losses beside
# their peers, steps of `fit`, and minutes to equal NDCG@10, each in float32 and
# mixed_float16, with `jit_compile` off and on.
#
#     pip install -e '.[test]' 'tensorflow[and-cuda]' keras-rs lightgbm xgboost
#     tests/benchmarks/gpu.sh
#     PYTHON=... tests/benchmarks/gpu.sh          # another interpreter
#     PEERS_PYTHON=... tests/benchmarks/gpu.sh    # where torch, rax and jax[cuda] are
#     SMALL=1 tests/benchmarks/gpu.sh             # sizes to see that it runs, on any machine
#
# A part that takes longer than its share is ended, and said.

set -uo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH=$PWD TF_CPP_MIN_LOG_LEVEL=3 TF_FORCE_GPU_ALLOW_GROWTH=true
export XLA_PYTHON_CLIENT_PREALLOCATE=false # JAX leaves memory to others
python=${PYTHON:-python}
begin=$SECONDS failed=0

if [[ -n ${SMALL:-} ]]; then
    device=cpu pairs=(--small) fit=(--lists 8 --length 8 --steps 4) train=(--seconds 2 --queries 60)
    share=(300 300 200 200)
else
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || exit 1
    device=cuda pairs=(--quick) fit=() train=(--seconds 6 --queries 2000)
    share=(140 130 80 40) # with the last three times: 470 s
fi

part() { # seconds, module, options
    echo "## $2 ${*:3}"
    echo
    timeout "$1" "$python" -m "tests.benchmarks.$2" "${@:3}" 2> >(grep -v "^WARNING\|^[IWE][0-9]\{4\}" >&2)
    local status=$?
    if ((status)); then
        echo "$2 ended with status $status, after at most $1 s"
        failed=1
    fi
    echo
}

part "${share[0]}" pairs "${pairs[@]}"
part "${share[1]}" fit "${fit[@]}"
for policy in float32 mixed_float16; do
    for compiled in "" --jit-compile; do
        # The peers are the same for all four.
        peers=--no-peers limit=${share[3]}
        [[ $policy$compiled == float32 ]] && peers= limit=${share[2]}
        part "$limit" train "${train[@]}" --device "$device" --policy "$policy" $compiled $peers
    done
done
echo "all of it: $((SECONDS - begin)) s"
exit $failed
