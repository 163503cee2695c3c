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

methods=(sft logits preference sft-on-policy unverified shuffled)
students=() ten=()
for seed in 0 1 2; do
    distil "webqsp-path-$seed" --seed "$seed"
    students+=("students/webqsp-path-$seed")
done
ask webqsp-students 300 "smollm2-135m,$(IFS=,; echo "${students[*]}")"
agentkd eval --task webqsp --data "$data" --limit 200 --retriever students/webqsp-retriever --constrain none \
    --model "$(IFS=,; echo "${students[*]}")" --out runs/webqsp-free
for seed in 0 1 2; do # ten layers; all methods see about as many tokens as three epochs of sft
    teacher=students/webqsp-path-$seed half=students/ten/half-$seed
    distil "ten/sft-$seed" --seed "$seed" layers=10
    distil "ten/logits-$seed" --seed "$seed" layers=10 --method logits "teacher=$teacher"
    distil "ten/half-$seed" --seed "$seed" layers=10 epochs=1.5
    distil "ten/preference-$seed" --seed "$seed" --student "$half" --method preference epochs=0.75 lr=2e-5 rejected=1
    distil "ten/sft-on-policy-$seed" --seed "$seed" --student "$half" --method on-policy epochs=1.5 lr=5e-5 \
        rollout_tokens=24 "teacher=$teacher"
    distil "ten/unverified-$seed" --seed "$seed" layers=10 control=unverified
    distil "ten/shuffled-$seed" --seed "$seed" layers=10 control=shuffled
    for method in "${methods[@]}"; do ten+=("students/ten/$method-$seed"); done
done
ask webqsp-methods 200 "$(IFS=,; echo "${ten[*]}")"
# three questions of the development set are training questions in other words
without=(--without WebQTest-1734 --without WebQTest-999 --without WebQTest-2007)
python scripts/seeds_table.py runs/webqsp-students --baseline top-path --baseline smollm2-135m "${without[@]}"
python scripts/seeds_table.py runs/webqsp-methods --baseline sft "${without[@]}"
