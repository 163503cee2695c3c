#!/usr/bin/env bash
# The whole road on real parts, small enough for two cores: a LangGraph KD-CoT agent with SmolLM2-135M (llama.cpp)
# answers questions over a knowledge base of world geography, its verified traces distil the same small model (TRL),
# and the evaluation compares teacher agent, student before and student after on held-out questions.
# Stopped half-way, the same command goes on from there; remove runs/demo* and students/demo* to start anew.
# README.md shows the same commands, and a test compares the two.
# usage: scripts/demo.sh [SEED]
set -euo pipefail
seed=${1:-0}
name=demo$([ "$seed" = 0 ] || echo "-$seed")
export HF_HUB_OFFLINE=1 # everything is packaged: no hub is needed

step() {
    printf '\n$ %s\n' "$*"
    "$@"
}

start=$SECONDS
step agentkd generate --task geo --limit 48 --seed "$seed" --out "runs/$name"
step agentkd distill --traces "runs/$name" --form one-call --seed "$seed" --out "students/$name"
step agentkd eval --task geo --limit 40 --seed "$seed" --agent kd-cot --teacher local \
    --model "smollm2-135m,students/$name" --baseline smollm2-135m --out "runs/$name-eval"
printf '\nthe road took %d s\n' $((SECONDS - start))
