"""The command `agentkd serve`: a model, or a student with its knowledge base, on a port."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from agentkd.cli.options import Aliases, Data, Json, Kb, KbColumns, Retriever, Task, Trust, VllmArgs, say
from agentkd.errors import UserError


def serve(
    model: Annotated[str, typer.Argument(help="local, smollm2-135m, a GGUF file (llama.cpp); a directory or hub name")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 finds a free one")] = 8000,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 for all")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="a further name of this machine that clients may ask for; repeatable")
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="requests in flight [default: 4, vLLM's own, or 8 with --kb or --task]")
    ] = None,
    vllm_args: VllmArgs = None,
    kb: Kb = None,
    kb_columns: KbColumns = None,
    aliases: Aliases = None,
    task: Task = None,
    data: Data = None,
    retriever: Retriever = None,
    trust_remote_code: Trust = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="with --kb or --task: path and facts stand in the text, too")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve a model for other programs, until ctrl-C.

    With --kb or --task it is a student that answers questions with evidence, else the bare model, as --teacher of other
    commands.
    """
    place: dict[str, Any] = {"host": host, "port": port, "names": allow_host or (), "slots": slots}
    if kb is not None or task is not None:
        from agentkd.config import EvalConfig, load_config

        options = {
            name: value for name, value in locals().items() if name != "model" and name in EvalConfig.model_fields
        }
        from agentkd.ask.serve import format_up, serve_student

        config = load_config(EvalConfig, recipe=None, options={**options, "model": model}, overrides=[])
        serve_student(config, **place, evidence=evidence, on_up=print_up(format_up, as_json))
        return
    alone = {"--evidence": evidence, "--aliases": aliases, "--kb-columns": kb_columns, "--retriever": retriever}
    alone |= {"--data": data, "--trust-remote-code": trust_remote_code}
    if given := next((name for name, value in alone.items() if value), None):
        raise UserError(f"{given} is for a student that answers from a knowledge base: add --kb FILE, or --task NAME")
    from agentkd.serving.serve import format_facts
    from agentkd.serving.serve import serve as run

    run(model, **place, vllm_args=vllm_args or "", on_up=print_up(format_facts, as_json))


def print_up(format_lines: Callable[[dict[str, Any]], list[str]], as_json: bool) -> Callable[[dict[str, Any]], None]:
    """Make the function that prints the facts of a server that is up: as JSON, or as lines to copy."""

    def on_up(up: dict[str, Any]) -> None:
        if as_json:
            print(json.dumps(up), flush=True)
            return
        for line in format_lines(up):
            say(line)

    return on_up
