#!/usr/bin/env bash
# Scores the decline report on the public seeds and fails below the floor.
#
#   load-tests/decline/gate.sh [SEED...]        default: public-1 public-2 public-3
#
# TRIBUTARY  the binary; default: target/release/tributary (cargo build --release)
# SECONDS_A_SEED  processor time that a replay may take; default: 10
# Needs python3 (3.11 or newer) with numpy; numpy is installed into a venv under target/, or as root by
# apt-get, if it is missing. Exit 3: it could not be.
set -euo pipefail
cd "$(dirname "$0")/../.."
bench=load-tests/decline
work=target/decline-bench
tributary=${TRIBUTARY:-target/release/tributary}
seeds=("$@")
[ ${#seeds[@]} -gt 0 ] || seeds=(public-1 public-2 public-3)

[ -x "$tributary" ] || { echo "no binary at $tributary: run cargo build --release, or set TRIBUTARY" >&2; exit 2; }
# numpy may be in the python of the path, in that of the system, or in a venv of ours.
has_numpy() { "$1" -c 'import sys, numpy; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
find_python() {
  for python in python3 /usr/bin/python3 $work/venv/bin/python; do has_numpy "$python" && return; done
  if python3 -m venv "$work/venv" 2>/dev/null && "$work/venv/bin/pip" install --quiet 'numpy>=1.24' >&2; then
    python=$work/venv/bin/python
  elif [ $EUID -eq 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-numpy; } >/dev/null
    python=/usr/bin/python3
  fi
  has_numpy "$python"
}
find_python || { echo "python3 (3.11 or newer) with numpy is missing, and could not be installed" >&2; exit 3; }

results=()
for seed in "${seeds[@]}"; do
  data=$work/$seed
  # Series are kept between runs; they change only with their generator.
  [ "$data/truth.csv" -nt $bench/generate.py ] || $python $bench/generate.py --seed "$seed" --out "$data"
  # Processor time: what else the machine does is no fault of the detector.
  (ulimit -t "${SECONDS_A_SEED:-10}"
    exec "$tributary" decline score --series "$data" --out "$data/flags.csv" --states "$data/states.csv") \
    || { echo "$seed: the replay failed or took more than ${SECONDS_A_SEED:-10} s of processor time" >&2; exit 1; }
  $python $bench/score.py --data "$data" --flags "$data/flags.csv" --states "$data/states.csv" --json "$data/score.json" > "$data/score.txt"
  results+=("$data/score.json")
done
$python $bench/gate.py "${results[@]}" | load-tests/figures decline_gate
