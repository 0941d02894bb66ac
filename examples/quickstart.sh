#!/usr/bin/env bash
# The whole chain on real events: generate, split, train, sample, validate.
#
#     examples/quickstart.sh FOLDER
#
# leaves events, a small model and figures in FOLDER. WORKERS (2), EVENTS (4000) and STEPS (400)
# can be set in the environment. The model is trained for about two minutes on purpose: the figures
# show a chain that works, not a model to publish.
set -euo pipefail

out=${1:?usage: quickstart.sh FOLDER}
workers=${WORKERS:-2}
events=${EVENTS:-4000}
steps=${STEPS:-400}
mkdir -p "$out"
cd "$out"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "1. Real events: Pythia 8 Angantyr O-O at 5.36 TeV"
run hi-mc --system O-O --sqrt-s-nn 5360 -n "$events" -j "$workers" --seed 1 -o oo.h5
run hi-info oo.h5

say "2. Training, test and validation events"
run hi-prep oo.h5 --split train=0.60,test=0.35,val=0.05 -o data

say "3. A small model"
run hi-train data/train.h5 --validation data/val.h5 --steps "$steps" -o model --plot loss.png

say "4. Generated events"
run hi-sample -m model -n 1000 --seed 2 -j "$workers" -o sample.h5

say "5. Against real events that the training never saw"
run hi-w1 data/test.h5 sample.h5
# Before particles are moved to the sums of their events: what the network reached.
echo "\$ hi-sample -m model -n 1000 --seed 2 -j $workers --corrections 0 | hi-qclosure -"
hi-sample -m model -n 1000 --seed 2 -j "$workers" --corrections 0 -q |
    hi-qclosure - --plot qclosure.png
run hi-closure data/test.h5 sample.h5 --plot closure.png
run hi-flow data/test.h5 sample.h5 --plot flow.png
run hi-jets data/test.h5 sample.h5 -j "$workers" --plot jets.png

say "The same on pipes"
echo '$ hi-sample -m model -n 200 --seed 3 | hi-jets - | hi-info -'
hi-sample -m model -n 200 --seed 3 | hi-jets - | hi-info -

say "Done: events, model and figures are in $out"
