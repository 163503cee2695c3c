#!/usr/bin/env bash
# The whole road on real parts, small enough for two cores: a LangGraph KD-CoT agent with SmolLM2-135M (llama.cpp)
# answers questions over a knowledge base of world geography, its verified traces distil the same small model (TRL),
# and the evaluation compares teacher agent, student before and student after on held-out questions.
# Stopped half-way, the same command goes on from there; remove runs/demo and students/demo to start anew.
set -euo pipefail
export HF_HUB_OFFLINE=1 # everything is packaged: no hub is needed

step() {
    printf '\n$ %s\n' "$*"
    "$@"
}

start=$SECONDS
step agentkd generate --task geo --limit 48 --out runs/demo
step agentkd distill --traces runs/demo --out students/demo
step agentkd eval --task geo --limit 40 --agent kd-cot --teacher local --model smollm2-135m,students/demo \
    --baseline smollm2-135m --out runs/demo-eval
printf '\nthe road took %d s\n' $((SECONDS - start))
