"""The command line: thin functions that parse, call and print.

Nothing heavy is imported before a command needs it, so that `agentkd --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkd import __version__
from agentkd.cli.bench import measure
from agentkd.cli.kaggle import kaggle
from agentkd.cli.options import (
    Concurrency,
    Data,
    Json,
    Kb,
    Limit,
    MaxTokens,
    MaxUsd,
    Out,
    Overrides,
    Recipe,
    Retriever,
    Seed,
    Split,
    Task,
    Teacher,
    VllmArgs,
    give,
    say,
)
from agentkd.errors import AgentkdError, WorldError

app = typer.Typer(
    help="Distil the verified reasoning of agents into small open models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

STOPPED = 130


@app.callback()
def root(
    debug: Annotated[bool, typer.Option(help="show tracebacks")] = False,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if debug:
        os.environ["AGENTKD_DEBUG"] = "1"
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def generate(
    overrides: Overrides = None,
    recipe: Recipe = None,
    task: Task = None,
    data: Data = None,
    kb: Kb = None,
    split: Split = None,
    limit: Limit = None,
    seed: Seed = None,
    teacher: Teacher = None,
    agent: Annotated[str | None, typer.Option(help="kd-cot, cot, rag or one-call [kd-cot]")] = None,
    retriever: Retriever = None,
    samples: Annotated[int | None, typer.Option(help="traces a question [1]")] = None,
    rationalise: Annotated[
        bool | None, typer.Option("--rationalise", help="gold chooses the path where no sample is proven; flagged")
    ] = None,
    concurrency: Concurrency = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    batch: Annotated[
        str | None, typer.Option(help="ask offline: requests and answers as OpenAI batch files in this folder")
    ] = None,
    vllm_args: VllmArgs = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Agent traces, verified. The same command resumes a run that was stopped."""
    from agentkd.config import GenerateConfig, load_config
    from agentkd.generate import generate as run
    from agentkd.runs.progress import format_usd

    options = given(locals(), GenerateConfig.model_fields)
    config = load_config(GenerateConfig, recipe=recipe, options=options, overrides=overrides or [])
    result = run(config)
    if as_json:
        print(json.dumps(result))
        return
    say(
        f"{result['traces']} traces of {result['questions']} questions, {result['verified']} verified · "
        f"{result['calls']:.1f} calls and {result['tokens']:.0f} tokens a trace"
        + (f" · {format_usd(result['usd'])} in all" if result["usd"] else "")
    )
    if result["rationalised"]:
        say(f"{result['rationalised']} more questions are proven with a hint from gold (flagged as rationalised)")
    say(f"wrote {result['out']}; next: agentkd distill --traces {result['out']}")


@app.command()
def feedback(
    overrides: Overrides = None,
    recipe: Recipe = None,
    traces: Annotated[str | None, typer.Option(help="run directories, comma-separated [the newest in runs/]")] = None,
    seed: Seed = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """What traces say about relation paths, into the dense retriever."""
    from agentkd.config import FeedbackConfig, load_config
    from agentkd.distill.retriever import feedback as run

    options = given(locals(), FeedbackConfig.model_fields)
    config = load_config(FeedbackConfig, recipe=recipe, options=options, overrides=overrides or [])
    result = run(config)
    if as_json:
        print(json.dumps(result))
        return
    say(
        f"strict F1 of the top path on {result['held_out']} held-out questions: {result['f1_before']:.1f} → "
        f"{result['f1_after']:.1f}, {result['f1_gain']:+.1f} [{result['f1_gain_low']:+.1f}, "
        f"{result['f1_gain_high']:+.1f}] (paired, 95 %)"
    )
    say(f"wrote {result['out']}; use it with --retriever {result['out']}")


@app.command()
def distill(
    overrides: Overrides = None,
    recipe: Recipe = None,
    traces: Annotated[str | None, typer.Option(help="a run directory [the newest complete one in runs/]")] = None,
    student: Annotated[str | None, typer.Option(help="smollm2-135m, a directory or a hub name")] = None,
    method: Annotated[
        str | None, typer.Option(help="sft, logits, on-policy, preference …; a,b: stages (docs/distill.md) [sft]")
    ] = None,
    form: Annotated[str | None, typer.Option(help="path, one-call or dialogue (docs/distill.md) [path]")] = None,
    limit: Annotated[int | None, typer.Option(help="traces at most, rare paths first [all]")] = None,
    seed: Seed = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="what it would take: memory, disk, steps and, measured, time; then stop")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Verified traces into a small student, with TRL."""
    from agentkd.config import DistillConfig, load_config
    from agentkd.distill import processes
    from agentkd.distill.plan import plan as make_plan
    from agentkd.distill.stages import distill as run

    options = given(locals(), DistillConfig.model_fields)
    config = load_config(DistillConfig, recipe=recipe, options=options, overrides=overrides or [])
    result = make_plan(config) if plan else run(config)
    if not processes.is_first():
        return
    if as_json:
        print(json.dumps(result))
    if as_json or plan:
        return
    say(
        f"{result['examples']} examples, {result['steps']} steps in {result['seconds']:.0f} s "
        f"({result['tokens_per_second']:.0f} tokens/s) · loss {result['loss_first']:.3f} → "
        f"{result['loss_last']:.3f} nats/token"
    )
    say(f"wrote {result['out']}; next: agentkd eval --model {result['out']}")


@app.command("eval")
def evaluate(
    overrides: Overrides = None,
    recipe: Recipe = None,
    task: Task = None,
    data: Data = None,
    kb: Kb = None,
    split: Split = None,
    limit: Limit = None,
    seed: Seed = None,
    teacher: Teacher = None,
    agent: Annotated[str | None, typer.Option(help="agents, comma-separated, or none [kd-cot]")] = None,
    model: Annotated[str | None, typer.Option(help="students, comma-separated: directory, hub name, URL#MODEL")] = None,
    retriever: Retriever = None,
    concurrency: Concurrency = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    vllm_args: VllmArgs = None,
    constrain: Annotated[str | None, typer.Option(help="kb: a student writes paths of the KB only; none [kb]")] = None,
    matchers: Annotated[str | None, typer.Option(help="strict, rog, webqsp_official, tog_em [strict,rog]")] = None,
    baseline: Annotated[str | None, typer.Option(help="the row to compare the others with, in pairs")] = None,
    predictions: Annotated[str | None, typer.Option(help="score this JSONL of predictions instead")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Agents and students on held-out questions: scores with intervals, faithfulness and cost."""
    from agentkd.config import EvalConfig, load_config
    from agentkd.eval.kbqa import evaluate as run
    from agentkd.eval.table import show

    options = given(locals(), EvalConfig.model_fields)
    config = load_config(EvalConfig, recipe=recipe, options=options, overrides=overrides or [])
    result = run(config)
    if as_json:
        print(json.dumps(result))
        return
    show(result)
    if "out" in result:
        say(f"wrote {result['out']} (report.html, metrics.json and each system's answers)")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="the directory of a run, an evaluation or a student")],
    as_json: Json = False,
) -> None:
    """One self-contained page, report.html, in the directory. Every stage writes it at its end."""
    from agentkd.report.write import write_report

    path = write_report(run)
    print(json.dumps({"out": str(path)}) if as_json else path)


@app.command()
def export(
    student: Annotated[str, typer.Argument(help="a student's directory, smollm2-135m or a hub name")],
    dtype: Annotated[str, typer.Option(help="f32 or f16, of the matrices")] = "f32",
    out: Annotated[Path | None, typer.Option(help="the file to write [STUDENT/model-DTYPE.gguf]")] = None,
    as_json: Json = False,
) -> None:
    """A student as one GGUF file, for llama.cpp and --teacher local:FILE.gguf."""
    from agentkd.distill.publish.gguf import export as run

    result = run(student, dtype=dtype, out=out)
    if as_json:
        print(json.dumps(result))
        return
    say(f"wrote {result['out']} ({result['bytes'] / 1e6:.0f} MB); use it with --teacher local:{result['out']}")


@app.command()
def push(
    student: Annotated[Path, typer.Argument(help="a directory that distill wrote")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; made where it is missing")],
    private: Annotated[bool, typer.Option("--private", help="a new repository is seen by its owner alone")] = False,
    as_json: Json = False,
) -> None:
    """A finished student onto the Hugging Face hub: weights, card, metrics and GGUF, in one commit."""
    from agentkd.distill.publish.push import push as run

    result = run(student, repo, private=private)
    if as_json:
        print(json.dumps(result))
        return
    say(f"wrote {result['out']} ({len(result['files'])} files); next: agentkd eval --model {repo}")


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="local, smollm2-135m, a GGUF file (llama.cpp); a directory or hub name")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 finds a free one")] = 8000,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 for all")] = "127.0.0.1",
    slots: Annotated[int | None, typer.Option(min=1, help="requests in flight [4, or vLLM's own]")] = None,
    vllm_args: VllmArgs = None,
    as_json: Json = False,
) -> None:
    """A model server in the foreground, for other commands' --teacher. Ctrl-C ends it."""
    from agentkd.serving.serve import describe
    from agentkd.serving.serve import serve as run

    def on_up(up: dict[str, Any]) -> None:
        print(json.dumps(up), flush=True) if as_json else say(describe(up))

    run(model, host=host, port=port, slots=slots, vllm_args=vllm_args or "", on_up=on_up)


@app.command()
def doctor(
    measure: Annotated[bool, typer.Option(help="measure the local teacher's speed, about 10 s")] = True,
    api: Annotated[str, typer.Option(help="the API model whose price is shown beside it")] = "gpt-4o-mini",
    prices: Annotated[Path | None, typer.Option(help="your price table [the packaged one]")] = None,
    as_json: Json = False,
) -> None:
    """What this machine can run, what is missing and how to get it, and what a run would cost."""
    from agentkd.machine.doctor import diagnose, show

    result = diagnose(measure=measure, api=api, prices=prices)
    give(result, show, as_json)


app.add_typer(measure, name="bench")
app.add_typer(kaggle, name="kaggle")


def given(values: dict[str, Any], fields: Any) -> dict[str, Any]:
    """The options of a command that are fields of its config."""
    return {name: value for name, value in values.items() if name in fields}


def main() -> None:
    """Run the command and turn errors into one line and an exit code: 2 the input, 3 the world, 130 ctrl-C."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(command: Callable[[], Any]) -> int:
    debug = "--debug" in sys.argv
    try:
        result = command()
        if result == STOPPED:  # typer has turned ctrl-C into its exit code
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, EOFError, typer.Abort):
        say("stopped; what is finished is on disk, the same command goes on from there")
        return STOPPED
    except AgentkdError as error:
        if debug:
            raise
        say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        if debug:
            raise
        say(f"error: {error}; check the path, its rights and the room on the disk")
        return WorldError.exit_code
    except Exception as error:
        if debug:
            raise
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click: a misspelt option
            say(f"error: {error.format_message()} (see --help)")
            return int(error.exit_code)
        say(f"error: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} "
            f"(a fault in agentkd; --debug shows where)")  # fmt: skip
        return 1
