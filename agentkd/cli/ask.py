"""The command `agentkd ask`: one question to a student."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agentkd.cli.options import (
    MODEL,
    TASK,
    Aliases,
    Data,
    Insecure,
    Json,
    Kb,
    KbColumns,
    Retriever,
    Task,
    Trust,
    VllmArgs,
    pick_options,
    print_text,
    say,
)
from agentkd.errors import UserError


def ask(
    student: Annotated[
        str, typer.Argument(help="a directory that distill wrote; or local:FILE.gguf, vllm:DIR, URL#MODEL")
    ],
    question: Annotated[str, typer.Argument(help="in quotation marks")],
    topic: Annotated[
        list[str] | None,
        typer.Option(
            help="an entity that the question is about; repeatable [default: found in the question]",
            rich_help_panel=TASK,
        ),
    ] = None,
    kb: Kb = None,
    kb_columns: KbColumns = None,
    aliases: Aliases = None,
    task: Task = None,
    data: Data = None,
    retriever: Retriever = None,
    hops: Annotated[int | None, typer.Option(rich_help_panel=MODEL)] = None,
    constrain: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    trust_remote_code: Trust = None,
    insecure: Insecure = None,
    vllm_args: VllmArgs = None,
    as_json: Json = False,
) -> None:
    """Ask a student one question; answers, path and evidence come back.

    Without --kb or --task, the knowledge base is the one of the student's own traces.
    """
    from agentkd.ask.student import Student
    from agentkd.config import EvalConfig

    options = pick_options(locals(), EvalConfig.model_fields)
    with Student.load(student, **options) as asked:
        answer = asked.ask(question, topic)
    if as_json:
        print(json.dumps(answer.model_dump(mode="json")))
    else:
        for name in answer.answers:
            print_text(name)
        for line in answer.describe():
            say(line)
    if not answer.answers:
        raise UserError(f"no answer: {answer.reason}; name another --topic, or ask for another relation")
