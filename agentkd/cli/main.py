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
from agentkd.api import TASKS, find_task
from agentkd.cli.ask import ask
from agentkd.cli.bench import measure
from agentkd.cli.distill_tasks import distill_task
from agentkd.cli.elicit import elicit
from agentkd.cli.gate import gate
from agentkd.cli.help import OUTPUT, Index, complete_from, form_names, method_names, page
from agentkd.cli.kaggle import kaggle
from agentkd.cli.merge import merge
from agentkd.cli.methods import methods
from agentkd.cli.options import (
    LIMITS,
    MODEL,
    TASK,
    Agent,
    Aliases,
    Concurrency,
    Data,
    Insecure,
    Json,
    Kb,
    KbColumns,
    Limit,
    MaxTokens,
    MaxUsd,
    Otlp,
    OtlpContent,
    Out,
    Overrides,
    Recipe,
    Retriever,
    Seed,
    Split,
    Task,
    Teacher,
    Trust,
    VllmArgs,
    pick_options,
    print_result,
    print_text,
    say,
)
from agentkd.cli.reproduce import reproduce
from agentkd.cli.results import print_generation
from agentkd.cli.review import review
from agentkd.cli.select import select
from agentkd.cli.serve import serve
from agentkd.cli.traces import export_traces, import_files
from agentkd.cli.verify import verify
from agentkd.errors import AgentkdError, WorldError
from agentkd.runs.signals import signals_like_ctrl_c, stop_code
from agentkd.runs.watchdog import start_watchdog
from agentkd.sandbox.orphans import end_orphans

ROAD, STUDENTS, MACHINE, MORE = "The road", "Students", "This machine", "Competitions and benchmarks"

app = typer.Typer(
    cls=Index,
    help="Distil the verified reasoning of agents into small open models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

STOPPED = 130  # exit code of ctrl-C


def print_version(wanted: bool) -> None:
    """Print the version and stop, before a command is asked for."""
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Distil the verified reasoning of agents into small open models."""
    if debug:
        os.environ["AGENTKD_DEBUG"] = "1"


@app.command("help", hidden=True)
def show_help(
    context: typer.Context, words: Annotated[list[str] | None, typer.Argument(metavar="COMMAND")] = None
) -> None:
    """Print the page of a command, as `agentkd COMMAND --help` does."""
    assert context.parent is not None
    context.parent.command.main([*(words or []), "--help"], prog_name=context.parent.info_name, standalone_mode=False)


@app.command(cls=page("GenerateConfig", "agentkd generate --task webqsp --limit 200 --samples 4"), rich_help_panel=ROAD)
def generate(
    overrides: Overrides = None,
    recipe: Recipe = None,
    task: Task = None,
    data: Data = None,
    kb: Kb = None,
    kb_columns: KbColumns = None,
    aliases: Aliases = None,
    split: Split = None,
    limit: Limit = None,
    seed: Seed = None,
    teacher: Teacher = None,
    agent: Agent = None,
    retriever: Retriever = None,
    verify: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    samples: Annotated[int | None, typer.Option(rich_help_panel=MODEL)] = None,
    rationalise: Annotated[bool | None, typer.Option("--rationalise", rich_help_panel=MODEL)] = None,
    concurrency: Concurrency = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    agent_timeout: Annotated[float | None, typer.Option(rich_help_panel=LIMITS)] = None,
    agent_calls: Annotated[int | None, typer.Option(rich_help_panel=LIMITS)] = None,
    batch: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    insecure: Insecure = None,
    vllm_args: VllmArgs = None,
    otlp: Otlp = None,
    otlp_content: OtlpContent = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Let an agent answer a task's questions; verify and store its traces.

    The same command resumes a run that was stopped.
    """
    from agentkd.config import GenerateConfig, load_config
    from agentkd.generate import generate as run

    options = pick_options(locals(), GenerateConfig.model_fields)
    config = load_config(GenerateConfig, recipe=recipe, options=options, overrides=overrides or [])
    result = run(config)
    if as_json:
        print(json.dumps(result))
        return
    print_generation(result)


@app.command(cls=page("FeedbackConfig", "agentkd feedback --traces runs/geo-kd-cot"), rich_help_panel=STUDENTS)
def feedback(
    overrides: Overrides = None,
    recipe: Recipe = None,
    traces: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    seed: Seed = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Train the dense retriever on what traces say about relation paths."""
    from agentkd.config import FeedbackConfig, load_config
    from agentkd.distill.feedback import train_retriever as run

    options = pick_options(locals(), FeedbackConfig.model_fields)
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
    if "reranker_f1" in result:
        say(
            f"with the reranker: {result['reranker_f1']:.1f}, {result['reranker_gain']:+.1f} "
            f"[{result['reranker_gain_low']:+.1f}, {result['reranker_gain_high']:+.1f}] (paired, 95 %) · weights of "
            f"ranking and reranker {result['reranker_mix'][0]:.2f} and {result['reranker_mix'][1]:.2f}"
        )
    say(f"wrote {result['out']}; use it with --retriever {result['out']}")


@app.command(
    cls=page("DistillConfig", "agentkd distill --traces runs/geo-kd-cot --method sft", beside=TASKS),
    rich_help_panel=ROAD,
)
def distill(
    overrides: Overrides = None,
    recipe: Recipe = None,
    traces: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    corpus: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    task: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    data: Data = None,
    teacher_model: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    limit: Limit = None,
    student: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    method: Annotated[
        str | None, typer.Option(autocompletion=complete_from(method_names), rich_help_panel=MODEL)
    ] = None,
    form: Annotated[str | None, typer.Option(autocompletion=complete_from(form_names), rich_help_panel=MODEL)] = None,
    budget_hours: Annotated[float | None, typer.Option(rich_help_panel=LIMITS)] = None,
    teacher: Teacher = None,
    privacy: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    log: Annotated[str | None, typer.Option(rich_help_panel=OUTPUT)] = None,
    trust_remote_code: Trust = None,
    seed: Seed = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="print the memory, disk, steps and measured time that it takes; then stop",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Distil verified traces into a small student, with TRL.

    The stages of --method sft,on-policy are trained one after another.
    The same command resumes a run that was stopped.
    """
    if name := find_task({"task": task, "method": method, "corpus": corpus}, recipe):
        distill_task(name, locals(), plan=plan, as_json=as_json)
        return
    from agentkd.api import find_distillation
    from agentkd.config import DistillConfig, load_config
    from agentkd.distill import processes

    options = pick_options(locals(), DistillConfig.model_fields)
    config = load_config(DistillConfig, recipe=recipe, options=options, overrides=overrides or [])
    result = find_distillation(config, plan=plan)(config)
    if not processes.is_rank_0():
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
    say(f"wrote {result['out']}; next: {result['next']}")


@app.command("eval", cls=page("EvalConfig", "agentkd eval --model students/geo-sft"), rich_help_panel=ROAD)
def evaluate(
    overrides: Overrides = None,
    recipe: Recipe = None,
    task: Task = None,
    data: Data = None,
    kb: Kb = None,
    kb_columns: KbColumns = None,
    aliases: Aliases = None,
    split: Split = None,
    limit: Limit = None,
    seed: Seed = None,
    teacher: Teacher = None,
    agent: Agent = None,
    model: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    retriever: Retriever = None,
    concurrency: Concurrency = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    trust_remote_code: Trust = None,
    insecure: Insecure = None,
    vllm_args: VllmArgs = None,
    constrain: Annotated[str | None, typer.Option(rich_help_panel=MODEL)] = None,
    matchers: Annotated[str | None, typer.Option(rich_help_panel=OUTPUT)] = None,
    baseline: Annotated[str | None, typer.Option(rich_help_panel=OUTPUT)] = None,
    predictions: Annotated[str | None, typer.Option(rich_help_panel=TASK)] = None,
    inspect_log: Annotated[str | None, typer.Option(rich_help_panel=OUTPUT)] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Score agents and students on held-out questions, with intervals and cost."""
    from agentkd.config import EvalConfig, load_config
    from agentkd.eval.kbqa import evaluate as run
    from agentkd.eval.table import print_evaluation

    options = pick_options(locals(), EvalConfig.model_fields)
    config = load_config(EvalConfig, recipe=recipe, options=options, overrides=overrides or [])
    result = run(config)
    if as_json:
        print(json.dumps(result))
        return
    print_evaluation(result)
    if "out" in result:
        say(f"wrote {result['out']} (report.html, metrics.json and each system's answers)")


@app.command(cls=page(example="agentkd report runs/geo-kd-cot"), rich_help_panel=ROAD)
def report(
    run: Annotated[Path, typer.Argument(help="the directory of a run, an evaluation or a student")],
    out: Annotated[Path | None, typer.Option(help="the file to write [default: RUN/report.html]")] = None,
    as_json: Json = False,
) -> None:
    """Write report.html, one self-contained page, into a run's directory.

    Every stage writes it at its end; this command writes it again.
    """
    from agentkd.report.write import write_report

    path = write_report(run, out=out)
    print_result({"out": str(path)}, lambda result: print_text(result["out"]), as_json)


@app.command(cls=page(example="agentkd export students/geo-sft --dtype f16"), rich_help_panel=STUDENTS)
def export(
    student: Annotated[str, typer.Argument(help="a student's directory, smollm2-135m or a hub name")],
    dtype: Annotated[
        str, typer.Option(help="f32, f16, bf16, q8_0, q4_k_m or another type of llama.cpp, for the matrices")
    ] = "f32",
    llama_cpp: Annotated[
        str | None,
        typer.Option(help="a checkout of llama.cpp, for all but Llama in f32 and f16 [default: $LLAMA_CPP, else PATH]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the file to write [default: STUDENT/model-DTYPE.gguf]")] = None,
    as_json: Json = False,
) -> None:
    """Export a student as GGUF, for llama.cpp and --teacher local:FILE.gguf."""
    from agentkd.distill.publish.export import export as run
    from agentkd.eval.systems import read_taught_form

    result = run(student, dtype=dtype, out=out, llama_cpp=llama_cpp)
    if as_json:
        print(json.dumps(result))
        return
    say(f"wrote {result['out']} ({result['bytes'] / 1e6:.0f} MB); use it with --teacher local:{result['out']}")
    if read_taught_form(student) == "path":
        say("llama.cpp reads its paths by votes where transformers weighs them: scores may differ (`read by` in eval)")


@app.command(cls=page(example="agentkd push students/geo-sft me/geo-student --private"), rich_help_panel=STUDENTS)
def push(
    folder: Annotated[Path, typer.Argument(help="a directory that distill wrote, or a run of traces")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; created where it is missing")],
    private: Annotated[bool, typer.Option("--private", help="create the repository as private")] = False,
    as_json: Json = False,
) -> None:
    """Push a finished student, or the traces of a run, to the Hugging Face hub.

    Weights, card, metrics and GGUF files go up in one commit. A run becomes a
    data set whose sessions the hub renders.
    """
    from agentkd.distill.publish.push import push as run

    result = run(folder, repo, private=private)
    if as_json:
        print(json.dumps(result))
        return
    then = f"next: {result['next']}" if "next" in result else "the hub shows its sessions"
    say(f"wrote {result['out']} ({len(result['files'])} files); {then}")


@app.command(cls=page(example="agentkd doctor --api gpt-4o-mini"), rich_help_panel=MACHINE)
def doctor(
    measure: Annotated[bool, typer.Option(help="measure the speed of the local teacher, about 10 s")] = True,
    api: Annotated[str, typer.Option(help="API model whose price is shown for comparison")] = "gpt-4o-mini",
    prices: Annotated[Path | None, typer.Option(help="a price table of your own [default: the packaged one]")] = None,
    as_json: Json = False,
) -> None:
    """Check what this machine can run, what is missing, and what a run costs."""
    from agentkd.machine.doctor import diagnose, print_diagnosis

    result = diagnose(measure=measure, api=api, prices=prices)
    print_result(result, print_diagnosis, as_json)


app.command(
    cls=page("ElicitConfig", "agentkd elicit expansion --task geo --count 200 --max-usd 1"), rich_help_panel=STUDENTS
)(elicit)
app.command(
    cls=page("GateConfig", "agentkd gate --student students/geo-sft --teacher runs/geo-kd-cot"),
    rich_help_panel=ROAD,
)(gate)
app.command(
    cls=page("EvalConfig", "agentkd ask students/geo-sft capital? --topic Nepal", takes_fields=False),
    rich_help_panel=STUDENTS,
)(ask)
app.command(
    cls=page("EvalConfig", "agentkd serve smollm2-135m --port 8000 --slots 4", takes_fields=False),
    rich_help_panel=MACHINE,
)(serve)
app.command(
    cls=page(example="agentkd merge runs/geo-kd-cot-1-of-2 runs/geo-kd-cot-2-of-2 --out runs/geo"), rich_help_panel=ROAD
)(merge)
app.command(cls=page(example="agentkd review runs/geo-kd-cot --count 20"), rich_help_panel=ROAD)(review)
app.command(cls=page("VerifyConfig", "agentkd verify runs/geo-kd-cot --verify exact"), rich_help_panel=ROAD)(verify)
app.command(cls=page("ReproduceConfig", "agentkd reproduce hard --quick", takes_fields=False), rich_help_panel=MORE)(
    reproduce
)
app.command(
    cls=page("SelectConfig", "agentkd select --corpus texts.jsonl --teacher org/large --reference org/small"),
    rich_help_panel=STUDENTS,
)(select)
app.command(
    "import",
    cls=page("ImportConfig", "agentkd import traces.jsonl --out runs/mine", takes_fields=False),
    rich_help_panel=ROAD,
)(import_files)
app.command("export-traces", cls=page(example="agentkd export-traces runs/mine --format otlp"), rich_help_panel=ROAD)(
    export_traces
)
app.add_typer(kaggle, name="kaggle", rich_help_panel=MORE)
app.add_typer(measure, name="bench", rich_help_panel=MORE)
app.add_typer(methods, name="methods", rich_help_panel=MORE)


def main() -> None:
    """Run the command and turn errors into one line and an exit code: 2 the input, 3 the world, 130 ctrl-C.

    SIGTERM (143) and SIGHUP (129) stop it as ctrl-C does. A watchdog ends what does not stop."""

    def command() -> Any:
        start_watchdog(lambda: end_orphans(looks=4))
        return app(standalone_mode=False)

    try:
        with signals_like_ctrl_c():
            code = run_command(command)
    except KeyboardInterrupt:  # again, while it was being stopped
        code = STOPPED
    sys.exit(stop_code() if code == STOPPED else code)


def run_command(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code; an error is printed in one line, or raised with --debug."""
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
        what = str(error).splitlines()[0] if str(error) else ""
        say(f"error: {type(error).__name__}: {what} (a fault in agentkd; --debug shows where)")
        return 1
