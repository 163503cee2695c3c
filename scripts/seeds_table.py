"""Students of several seeds in one table: strict scores averaged over seeds, paired over questions.

    python scripts/seeds_table.py runs/webqsp-methods --baseline ten-sft --out docs/results/webqsp-methods.json

A system's answers lie in a folder of the evaluation; folders whose students' names differ in a last `-SEED` alone are
one row. The interval of a difference is a bootstrap over questions of the difference of the seeds' means, so that it
holds for these seeds and these questions; `seeds` has each seed's own F1.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from agentkd.agents.survey import trace_reward
from agentkd.runs.read import read_config, read_traces
from agentkd.stats import bootstrap_interval, paired_difference


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--baseline", action="append", default=[])
    parser.add_argument("--without", action="append", default=[], help="ids of questions to leave out")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    systems: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    tokens: dict[str, list[float]] = defaultdict(list)
    for folder in sorted(config.parent for path in asked.folders for config in path.glob("*/config.yaml")):
        config = read_config(folder)
        teacher = Path(str(config["teacher"])).name if config["agent"] != "top-path" else config["agent"]
        name, seed = found.groups() if (found := re.fullmatch(r"(.+)-(\d)", teacher)) else (teacher, "-")
        if config["agent"] not in ("path-writer", "one-call", "dialogue", "top-path"):
            name = config["agent"]
        if config.get("constrain") == "none":
            name += " (unconstrained)"
        traces = [trace for trace in read_traces(folder) if trace.sample == 0]
        systems[name][seed] = {trace.id: 100 * trace_reward(trace) for trace in traces}
        tokens[name].append(float(np.mean([trace.usage.tokens for trace in traces])))
    questions = sorted(set.intersection(*(set(f1) for seeds in systems.values() for f1 in seeds.values())))
    questions = [question for question in questions if question not in asked.without]
    means = {
        name: np.mean([[f1[q] for q in questions] for f1 in seeds.values()], axis=0) for name, seeds in systems.items()
    }
    rows = []
    for name, values in means.items():
        seeds = {seed: round(float(np.mean([f1[q] for q in questions])), 1) for seed, f1 in systems[name].items()}
        hits = [100 * np.mean([f1[q] > 0 for q in questions]) for f1 in systems[name].values()]
        low, high = bootstrap_interval(list(values))
        row = {
            "name": name,
            "seeds": seeds,
            "hit": round(float(np.mean(hits)), 1),
            "f1": round(float(values.mean()), 1),
        }
        row |= {"f1_low": round(low, 1), "f1_high": round(high, 1), "tokens": round(float(np.mean(tokens[name])), 1)}
        for base in asked.baseline:
            if base != name:
                difference = paired_difference(list(values), list(means[base]))
                row[f"minus {base}"] = [round(value, 1) for value in difference]
        rows.append(row)
    rows.sort(key=lambda row: -row["f1"])
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))
    if asked.out:
        asked.out.write_text(json.dumps({"n": len(questions), "rows": rows}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
