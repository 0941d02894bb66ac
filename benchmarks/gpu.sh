#!/usr/bin/env bash
# All measurements that need a GPU, one after another, into small files.
#
#     bash benchmarks/gpu.sh EVENTS.h5 OUT [STEP ...]
#
#     agreement        the GPU computes what the CPU does, in float32 and bf16, also short of memory
#     training-paper   events/s of training and sampling: packed, with events on the GPU or on the
#     training-rotary  host, bf16, torch.compile, and the padded way; time spent waiting for data
#     memory           peak memory of a training step against the number of particles
#     cost             milliseconds and evaluations of an event of a model
#     solvers          closure of the same model against evaluations, for each solver
#
# Without STEPs all are run. EVENTS.h5 holds real O-O events (some 7,000 fill the training steps; with
# fewer, epochs repeat). OUT gets a file for each step, and log.txt with the words of all. A step that
# fails or takes longer than its limit is named at the end, and the status is 1; the others are run
# all the same. Without a GPU the status is 2.
#
# PYTHON chooses the Python [python3], MODEL the model of the last two steps [oo-5360]. TRIAL=1 tries
# the script itself: tiny sizes on the CPU.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
model=${MODEL:-oo-5360}
all=(agreement training-paper training-rotary memory cost solvers)
if (($# < 2)); then
    echo "gpu.sh: expected EVENTS.h5 OUT [STEP ...], of ${all[*]}" >&2
    exit 2
fi
events=$1 out=$2
shift 2
steps=("$@")
(($#)) || steps=("${all[@]}")
for step in "${steps[@]}"; do
    if [[ " ${all[*]} " != *" $step "* ]]; then
        echo "gpu.sh: step '$step', expected some of ${all[*]}" >&2
        exit 2
    fi
done
if [[ ! -r $events ]]; then
    echo "gpu.sh: $events: no such file" >&2
    exit 2
fi
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"

device=cuda compared=64 sizes=() particles=(1000 2000 4000 8000 16000)
seconds=20 closing=(-n 1000 --evaluations 8 16 32 64)
if [[ ${TRIAL:-} ]]; then
    device=cpu compared=16 sizes=(--batch 2 --steps 1 --samples 1 --ways packed) particles=(200 400)
    seconds=1 closing=(-n 4 --evaluations 2 --solvers ab2 --grids uniform)
elif ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "gpu.sh: $python sees no GPU (torch.cuda.is_available() is false, or there is no torch)" >&2
    exit 2
fi
mkdir -p "$out"
: >"$out/log.txt"
failed=()

# LIMIT in seconds, FILE of the results, then the benchmark and its words.
measure() {
    local limit=$1 file=$2 status=0
    shift 2
    echo "gpu.sh: $step" >&2
    printf '== %s: %s\n' "$step" "$*" >>"$out/log.txt"
    timeout "$limit" "$python" "$here/$1" "${@:2}" >"$file" 2>>"$out/log.txt" || status=$?
    if ((status)); then
        printf '== %s: status %d\n' "$step" "$status" >>"$out/log.txt"
        failed+=("$step (status $status)")
    fi
}

on=(--device "$device")
for step in "${steps[@]}"; do
    case $step in
        agreement)
            measure 300 "$out/agreement.json" agreement.py "$events" "${on[@]}" -n "$compared" --json ;;
        training-*)
            measure 900 "$out/$step.json" training.py "$events" "${on[@]}" --preset "${step#training-}" \
                --limit 300 "${sizes[@]}" --json ;;
        memory)
            measure 300 "$out/memory.json" memory.py "${on[@]}" --json "${particles[@]}" ;;
        cost)
            measure 300 "$out/cost.json" cost.py "$model" "${on[@]}" --seconds "$seconds" --json ;;
        solvers)
            measure 600 /dev/null solvers.py "$model" "$events" "${on[@]}" "${closing[@]}" \
                -o "$out/solvers.md" ;;
    esac
done
if ((${#failed[@]})); then
    printf 'gpu.sh: failed: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
    exit 1
fi
