#!/usr/bin/env bash
# The rows "students" and "what each method is worth" of docs/results: 3 seeds, 500 verified traces, WebQSP development
# questions. Every command goes on where it stopped, and what is complete is not made again.
# usage: scripts/webqsp_students.sh DATA   (the folder of fbmini; about 3 hours on 2 cores)
set -euo pipefail
data=$1
export HF_HUB_OFFLINE=1
[ -f runs/webqsp-paths/manifest.json ] || agentkd generate --recipe recipes/webqsp-paths.yaml --data "$data"
[ -f students/webqsp-retriever/manifest.json ] ||
    agentkd feedback --traces runs/webqsp-paths --out students/webqsp-retriever

distil() { agentkd distill --recipe recipes/webqsp-student.yaml --out "students/$1" "${@:2}"; }

ask() { # FOLDER LIMIT MODELS: answers of several students to the same questions, beside the top path
    agentkd eval --task webqsp --data "$data" --limit "$2" --retriever students/webqsp-retriever --agent top-path \
        --model "$3" --baseline top-path --out "runs/$1"
}

for seed in 0 1 2; do
    distil "webqsp-path-$seed" --seed "$seed"
    distil "ten/sft-$seed" --seed "$seed" layers=10 epochs=6
    distil "ten/half-$seed" --seed "$seed" layers=10 epochs=3
    teacher=students/webqsp-path-$seed
    distil "ten/logits-$seed" --seed "$seed" layers=10 epochs=6 --method logits "teacher=$teacher"
    half=students/ten/half-$seed
    distil "ten/preference-$seed" --seed "$seed" --student "$half" --method preference epochs=1.5 rejected=1
    distil "ten/sft-on-policy-$seed" --seed "$seed" --student "$half" --method on-policy epochs=3 "teacher=$teacher"
    distil "ten/on-policy-$seed" --seed "$seed" layers=10 epochs=6 --method on-policy "teacher=$teacher"
    distil "ten/unverified-$seed" --seed "$seed" layers=10 epochs=6 control=unverified
    distil "ten/shuffled-$seed" --seed "$seed" layers=10 epochs=6 control=shuffled
    ask webqsp-students 300 "smollm2-135m,students/webqsp-path-$seed"
    ask webqsp-methods 200 "$(printf "students/ten/%s-$seed," sft logits preference on-policy sft-on-policy unverified shuffled | sed 's/,$//')"
done
