#!/usr/bin/env bash
# How rollouts teach students of agents: on-policy with rollouts=gkd, sod, trd and skew-pair beside sft, ten layers, 3
# seeds, on WebQSP's development questions. It continues scripts/webqsp_students.sh, whose students it needs. Every command
# goes on where it stopped.
# usage: scripts/webqsp_rollouts.sh DATA   (the folder of fbmini; some 2 hours on 2 cores after the other script)
set -euo pipefail
data=$1
export HF_HUB_OFFLINE=1
kinds=(gkd sod trd skew-pair)
models=()
for seed in 0 1 2; do
    models+=("students/ten/sft-$seed")
    for kind in "${kinds[@]}"; do
        agentkd distill --recipe recipes/webqsp-student.yaml --seed "$seed" --student "students/ten/half-$seed" \
            --method on-policy epochs=1.5 lr=2e-5 rollout_tokens=24 "rollouts=$kind" \
            "teacher=students/webqsp-path-$seed" --out "students/ten/rollouts-$kind-$seed"
        models+=("students/ten/rollouts-$kind-$seed")
    done
done
agentkd eval --task webqsp --data "$data" --limit 200 --retriever students/webqsp-retriever --agent top-path \
    --model "$(IFS=,; echo "${models[*]}")" --baseline top-path --out runs/webqsp-rollouts
without=(--without WebQTest-1734 --without WebQTest-999 --without WebQTest-2007)
python scripts/seeds_table.py runs/webqsp-rollouts --baseline sft "${without[@]}"
