"""The llama.cpp server of one GGUF file, as a `ManagedServer`. `llama_server.py` is the process."""

import importlib.util
import sys
from pathlib import Path

from agentkd.errors import UserError
from agentkd.serving.managed import ManagedServer, ServerOptions

LOCAL_SLOTS = 4  # requests in flight of the local teacher
LOCAL_CONTEXT = 4096  # tokens per slot, prompt and answer


def make_llama_server(
    gguf: Path, *, slots: int, context: int, options: ServerOptions, name: str | None = None
) -> ManagedServer:
    """Make a server with `slots` requests in flight of `context` tokens each (prompt and answer).

    It answers to `name`, by default the file's stem. A prefix that requests share is read once per slot. Raises
    UserError where llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise UserError("the local teacher needs llama.cpp: pip install 'agentkd[local]'")

    alias = name or gguf.stem

    def command(port: int) -> list[str]:
        # -P and the file instead of -m: neither the user's folder nor ours shadows a module of the same name.
        process = Path(__file__).with_name("llama_server.py")
        argv = [sys.executable, "-P", str(process), "--model", str(gguf), "--alias", alias]
        argv += ["--host", str(options.socket or options.host), "--port", str(port)]
        return [*argv, "--slots", str(slots), "--context", str(context)]

    return ManagedServer(command, model=alias, options=options)
