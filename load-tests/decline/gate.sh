#!/usr/bin/env bash
# Scores the decline report on the public seeds and fails below the floor.
#
#   load-tests/decline/gate.sh [SEED...]        default: public-1 public-2 public-3
#
# TRIBUTARY  the binary; default: target/release/tributary (cargo build --release)
# SECONDS_A_SEED  time limit of a replay; default: 10
# Needs python3 (3.11 or newer); numpy is installed into a venv under target/ if it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
bench=load-tests/decline
work=target/decline-bench
tributary=${TRIBUTARY:-target/release/tributary}
seeds=("$@")
[ ${#seeds[@]} -gt 0 ] || seeds=(public-1 public-2 public-3)

[ -x "$tributary" ] || { echo "no binary at $tributary: run cargo build --release, or set TRIBUTARY" >&2; exit 2; }
python=python3
if ! $python -c 'import numpy' 2>/dev/null; then
  python=$work/venv/bin/python
  $python -c 'import numpy' 2>/dev/null || { python3 -m venv "$work/venv"; "$work/venv/bin/pip" install --quiet 'numpy>=2'; }
fi

results=()
for seed in "${seeds[@]}"; do
  data=$work/$seed
  # Series are kept between runs; they change only with their generator.
  [ "$data/truth.csv" -nt $bench/generate.py ] || $python $bench/generate.py --seed "$seed" --out "$data"
  timeout "${SECONDS_A_SEED:-10}" "$tributary" decline score --series "$data" --out "$data/flags.csv" --states "$data/states.csv" \
    || { echo "$seed: the replay failed or took longer than ${SECONDS_A_SEED:-10} s" >&2; exit 1; }
  $python $bench/score.py --data "$data" --flags "$data/flags.csv" --states "$data/states.csv" --json "$data/score.json" > "$data/score.txt"
  results+=("$data/score.json")
done
$python $bench/gate.py "${results[@]}"
