#!/usr/bin/env python3
"""Prints a table of score.json files and fails if their mean recall is below the floor.

  gate.py DIR/public-1/score.json DIR/public-2/score.json ...
"""
import json, pathlib, sys
FLOOR = {"fa<=1/100pm": .70, "fa<=1/1000pm": .52}
COLUMNS = ("recall", "recall_tiny", "recall_small", "recall_mid", "recall_large", "recall_huge", "delay_median", "delay_all_mean", "precision", "severity_mae")


def main(paths):
    scores = {pathlib.Path(p).parent.name: json.load(open(p)) for p in paths}
    passed = True
    for rate, floor in FLOOR.items():
        print("%-14s" % rate + "".join("%15s" % c for c in COLUMNS))
        rows = {seed: [s[rate].get(c, float("nan")) for c in COLUMNS] for seed, s in scores.items()}
        rows["mean"] = [sum(col) / len(rows) for col in zip(*rows.values())]
        for seed, row in rows.items(): print("%-14s" % seed + "".join("%15.3f" % v for v in row))
        ok = rows["mean"][0] >= floor; passed &= ok
        print("%s: mean recall %.3f, floor %.2f\n" % ("passed" if ok else "FAILED", rows["mean"][0], floor))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
