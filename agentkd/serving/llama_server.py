"""The process of a llama.cpp server for one GGUF file, with the prebuilt `xllamacpp`.

    python -P llama_server.py --model FILE.gguf --port 8080 --slots 4 --context 4096

Speaks the OpenAI protocol. Run as a file of its own: it needs xllamacpp and nothing of ours.
"""

import argparse
import os
import threading
from pathlib import Path
from typing import Any


def count_cores() -> int:
    """Count the CPU cores that this process may use: its affinity, limited by a container's quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        count = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup, or the quota is "max"
        pass
    return count


def make_parameters(arguments: argparse.Namespace) -> Any:
    """Make xllamacpp's `CommonParams`, with the reason for each setting."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = {arguments.alias or Path(arguments.model).stem}
    params.hostnames = [arguments.host]
    params.port = arguments.port
    params.cors_origins = ""  # the default lets any web page that the user has open talk to the model
    params.ui = False
    params.endpoint_slots = False  # it shows the prompts of others

    # llama.cpp divides its context by the slots. One KV cache per slot, so that a long request cannot starve others.
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.slots * arguments.context
    params.kv_unified = False
    params.cont_batching = True
    params.cache_prompt = True  # the rounds of an agent share a prefix
    params.cache_ram_mib = 1024  # prefixes of finished requests; the default of 8 GiB is a laptop's whole memory
    params.use_jinja = True  # the model's own chat template

    # ubatch, flash attention and the type of the KV cache keep their defaults (docs/log.md).
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = count_cores()

    # The OpenAI protocol's defaults, which vLLM has too: sample from the whole distribution unless the request says
    # otherwise. llama.cpp's own (0.8, top_k 40, top_p 0.95, min_p 0.05) cut the tail that log-probabilities report.
    params.sampling.temp = 1.0
    params.sampling.top_k = 0
    params.sampling.top_p = 1.0
    params.sampling.min_p = 0.0
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve one GGUF file with llama.cpp.")
    parser.add_argument("--model", required=True, help="the GGUF file")
    parser.add_argument("--alias", help="name the server answers to (default: the file's stem)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, or a path that ends in .sock")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=4, help="requests in flight")
    parser.add_argument("--context", type=int, default=4096, help="tokens a request may hold, prompt and answer")
    arguments = parser.parse_args()

    # OpenMP threads spin at every barrier. When another process wants a core, the spinning thread keeps it from the
    # thread that has the work. A short spin costs nothing on idle cores and avoids that (docs/log.md). libgomp reads
    # this when xllamacpp loads it.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

    import xllamacpp

    server = xllamacpp.Server(make_parameters(arguments))
    print(f"serving {arguments.model} on {server.listening_address}", flush=True)
    threading.Event().wait()  # the server runs in threads of its own; SIGTERM ends the process


if __name__ == "__main__":
    main()
