#!/usr/bin/env bash
# MiniPLM on real text: docstrings of installed packages, SmolLM2-135M as the teacher, three of its layers, trained on a
# tenth of the texts, as the reference. Students of three layers learn halves of the rest at equal tokens; 3 seeds.
# Every command goes on where it stopped, and what is complete is not made again.
# usage: scripts/miniplm_texts.sh MEGABYTES TOKENS   (25 MB are about 6 M tokens; TOKENS are those of a student)
set -euo pipefail
megabytes=${1:-25} tokens=${2:-2500000} here=runs/miniplm-texts-${1:-25}
export HF_HUB_OFFLINE=1
mkdir -p "$here"
[ -f "$here/all.jsonl" ] || { python scripts/package_texts.py --megabytes "$megabytes" --out "$here/.part" &&
    mv "$here/.part" "$here/all.jsonl"; }
# one in ten for the reference, one in twenty held out, the rest to choose from
awk -v to="$here" '{ name = NR % 10 == 0 ? "reference" : NR % 20 == 1 ? "held_out" : "corpus"
    print > to "/" name ".jsonl" }' "$here/all.jsonl"

learn() { agentkd distill --student smollm2-135m layers=3 max_length=512 evaluations=4 "$@"; }

learn --corpus "$here/reference.jsonl" "validation=$here/held_out.jsonl" --seed 9 --out "$here/reference"
for by in difference random lowest highest; do
    agentkd select --corpus "$here/corpus.jsonl" --teacher smollm2-135m --reference "$here/reference" --keep 0.5 \
        max_length=512 --by "$by" --out "$here/select"
    cp "$here/select/selected.jsonl" "$here/$by.jsonl"
    cp "$here/select/metrics.json" "$here/$by.json"
done
for seed in 0 1 2; do
    for by in difference random lowest highest; do
        learn --corpus "$here/$by.jsonl" "validation=$here/held_out.jsonl" --seed "$seed" "tokens=$tokens" \
            --out "$here/$by-$seed"
    done
done
