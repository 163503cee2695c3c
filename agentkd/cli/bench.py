"""`agentkd bench …`: thin functions that parse, call and print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkd.cli.help import Index, page
from agentkd.cli.options import TASK, Data, Json, Kb, Limit, Split, print_result

measure = typer.Typer(
    cls=Index, help="Measure again what the README claims.", no_args_is_help=True, rich_markup_mode=None
)


@measure.callback()
def measure_root() -> None:
    """Measure again what the README claims."""


@measure.command(cls=page("GenerateConfig", "agentkd bench retrieval --retriever bm25,hybrid", takes_fields=False))
def retrieval(
    task: Annotated[str, typer.Option(rich_help_panel=TASK)] = "geo",
    data: Data = None,
    kb: Kb = None,
    split: Split = None,
    retrievers: Annotated[
        str, typer.Option("--retriever", help="comma-separated; the first is the baseline of the others")
    ] = "bm25",
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    as_json: Json = False,
) -> None:
    """Path and passage retrieval: F1, Hit, Recall and query time."""
    from agentkd.eval.bench.truth.retrieval import bench_retrieval, print_retrieval

    result = bench_retrieval(task, data=data, kb=kb, split=split, retrievers=retrievers, limit=limit, seed=seed)
    print_result(result, print_retrieval, as_json)


@measure.command(cls=page(example="agentkd bench client --requests 500 --peers aiohttp,openai"))
def client(
    requests: Annotated[int, typer.Option(min=1, help="requests per run")] = 2000,
    in_flight: Annotated[int, typer.Option(min=1, help="requests open at once")] = 64,
    pairs: Annotated[int, typer.Option(min=1, help="interleaved rounds; every client runs once in each")] = 5,
    latency: Annotated[str, typer.Option(help="lognormal (mean 0.25 s, sigma 1.2) or zero")] = "lognormal",
    peers: Annotated[str, typer.Option(help="clients, comma-separated")] = "aiohttp,openai,curator,distilabel",
    install_peers: Annotated[
        bool, typer.Option("--install-peers", help="create .venv-peer-NAME where missing")
    ] = False,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for the JSON and a plot [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """Our client beside aiohttp, the OpenAI SDK, curator and distilabel.

    All ask the same loopback server.
    """
    from agentkd.eval.bench.speed.client import Load, bench_client, print_client

    result = bench_client(
        Load(requests, in_flight, latency, seed), pairs=pairs, peers=peers, install=install_peers, out=out
    )
    print_result(result, print_client, as_json)


@measure.command(cls=page(example="agentkd bench proxy --requests 2000"))
def proxy(
    requests: Annotated[int, typer.Option(min=2, help="calls per run")] = 2000,
    in_flight: Annotated[int, typer.Option(min=1, help="calls open at once, for requests/s")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="rounds; both ways take turns in each")] = 5,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for proxy.json [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """What the proxy adds to a model call of your own agent."""
    from agentkd.eval.bench.speed.proxy import bench_proxy, print_proxy

    result = bench_proxy(requests=requests, in_flight=in_flight, rounds=rounds, seed=seed, out=out)
    print_result(result, print_proxy, as_json)


@measure.command(cls=page(example="agentkd bench crash --questions 100 --kills 5"))
def crash(
    questions: Annotated[int, typer.Option(min=1, help="questions of geo")] = 500,
    kills: Annotated[int, typer.Option(min=1, help="number of kill -9, at seeded moments")] = 20,
    in_flight: Annotated[int, typer.Option(min=1, help="questions in flight")] = 16,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="an empty folder for the runs and crash.json [default: none]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Kill a run again and again while its server fails.

    Nothing may be lost, doubled or paid for twice.
    """
    from agentkd.eval.bench.truth.crash import bench_crash, print_crash, require_passed

    result = bench_crash(questions=questions, kills=kills, in_flight=in_flight, seed=seed, out=out)
    print_result(result, print_crash, as_json)
    require_passed(result)


@measure.command("agent", cls=page(example="agentkd bench agent --questions 50"))
def bench_agent(
    questions: Annotated[int, typer.Option(min=1, help="of geo")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="passes over the same questions")] = 5,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for agent.json [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """CPU time per KD-CoT round outside the model: LangGraph, nodes, client."""
    from agentkd.eval.bench.speed.agent import bench_agent, print_agent

    result = bench_agent(questions=questions, repeats=repeats, seed=seed, out=out)
    print_result(result, print_agent, as_json)


@measure.command(cls=page(example="agentkd bench server --teacher local --pairs 3"))
def server(
    teacher: Annotated[str, typer.Option(help="vllm:MODEL, local or URL#MODEL")],
    requests: Annotated[int, typer.Option(min=1, help="requests per block; each client has one block per pair")] = 64,
    in_flight: Annotated[int, typer.Option(min=1, help="requests open at once")] = 32,
    pairs: Annotated[int, typer.Option(min=1, help="interleaved pairs of blocks")] = 5,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    vllm_args: Annotated[str, typer.Option(help="passed to the vLLM server that agentkd starts")] = "",
    out: Annotated[
        Path | None, typer.Option(help="folder for server.json and the server's log [default: none]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Our client's tokens per second on a real server, beside a raw client.

    The requests are those of KD-CoT.
    """
    from agentkd.eval.bench.speed.server import bench_server, print_server

    result = bench_server(
        teacher=teacher,
        requests=requests,
        in_flight=in_flight,
        pairs=pairs,
        seed=seed,
        vllm_args=vllm_args,
        out=out,
    )
    print_result(result, print_server, as_json)


@measure.command(cls=page(example="agentkd bench losses --tokens 512"))
def losses(
    tokens: Annotated[int, typer.Option(min=2, help="tokens per batch")] = 1024,
    vocabulary: Annotated[int, typer.Option(min=2, help="size of the vocabulary")] = 151_936,
    width: Annotated[int, typer.Option(min=1, help="width of the hidden states")] = 576,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds; each implementation runs once in each")] = 3,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for losses.json [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """The chunked JSD beside the dense one and TRL's: time, memory, equality."""
    from agentkd.eval.bench.speed.losses import bench_losses, print_losses

    result = bench_losses(tokens=tokens, vocabulary=vocabulary, width=width, rounds=rounds, seed=seed, out=out)
    print_result(result, print_losses, as_json)


@measure.command("gguf", cls=page(example="agentkd bench gguf smollm2-135m --positions 600"))
def bench_gguf(
    student: Annotated[str, typer.Argument(help="a student's directory, smollm2-135m or a hub name")],
    dtype: Annotated[str, typer.Option(help="f32 or f16")] = "f32",
    positions: Annotated[int, typer.Option(min=1, help="teacher-forced positions of real text")] = 2400,
    strings: Annotated[int, typer.Option(min=1, help="strings to tokenise")] = 10_000,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for gguf.json [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """An exported student in llama.cpp beside itself in transformers.

    Compares next tokens, log-probabilities and tokenizers.
    """
    from agentkd.eval.bench.truth.gguf import bench_gguf, print_gguf, require_passed

    result = bench_gguf(student, dtype=dtype, positions=positions, strings=strings, seed=seed, out=out)
    print_result(result, print_gguf, as_json)
    require_passed(result)


@measure.command("train", cls=page(example="agentkd bench train --methods logits,on-policy --rounds 3"))
def bench_train(
    student: Annotated[
        str, typer.Option(help="a model, or tiny: two random layers, to try the benchmark")
    ] = "smollm2-135m",
    methods: Annotated[str, typer.Option(help="comma-separated; sft and plain TRL always run")] = "logits",
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps per run")] = 12,
    batch: Annotated[int, typer.Option(min=1, help="examples per step")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds; each method runs once in each")] = 5,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for train.json [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """Training tokens per second of each method, beside plain TRL."""
    from agentkd.eval.bench.speed.train import bench_train, print_train

    result = bench_train(student=student, methods=methods, steps=steps, batch=batch, rounds=rounds, seed=seed, out=out)
    print_result(result, print_train, as_json)


@measure.command(cls=page(example="agentkd bench faithful --traces runs/geo-kd-cot"))
def faithful(
    traces: Annotated[Path, typer.Option(help="a run directory with verified traces")],
    corruptions: Annotated[int, typer.Option(help="corrupted chains to try")] = 200,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    as_json: Json = False,
) -> None:
    """The independent checker on corrupted chains of evidence.

    Corruptions: another relation, another entity, another direction.
    """
    from agentkd.eval.bench.truth.faithful import bench_faithful, print_faithful

    result = bench_faithful(traces, corruptions=corruptions, seed=seed)
    print_result(result, print_faithful, as_json)


@measure.command(cls=page(example="agentkd bench automl --data competitions --seconds 60"))
def automl(
    data: Annotated[
        Path | None,
        typer.Option(help="folder of competitions (public/, private/, competition.json) [default: makes five]"),
    ] = None,
    names: Annotated[str, typer.Option(help="competitions, comma-separated [default: all]")] = "",
    systems: Annotated[str, typer.Option(help="systems, comma-separated")] = "agentkd,autogluon,flaml",
    seconds: Annotated[float, typer.Option(min=10, help="seconds of each run")] = 60.0,
    seeds: Annotated[int, typer.Option(min=1, help="seeds 0, 1, …")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="cores per run")] = 2,
    python: Annotated[str, typer.Option(help="Python of the peers' environment")] = ".venv-automl/bin/python",
    out: Annotated[Path, typer.Option(help="folder of results; finished rows are not run again")] = Path("runs/automl"),
    as_json: Json = False,
) -> None:
    """Agent K without a model beside AutoGluon and FLAML.

    All have the same clock and cores and choose by cross-validation.
    """
    from agentkd.eval.bench.truth.automl import Budget, bench_automl, print_automl

    budget = Budget(seconds, threads)
    result = bench_automl(data, budget, names=names, systems=systems, seeds=seeds, python=python, out=out)
    print_result(result, print_automl, as_json)


@measure.command("students", cls=page(example="agentkd bench students smollm2-135m,students/geo-sft"))
def bench_students(
    students: Annotated[str, typer.Argument(help="directories or names, comma-separated")],
    questions: Annotated[int, typer.Option(min=1, help="questions per round")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds; each student runs once in each")] = 5,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for students.json [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """How fast students score paths and write, beside the first of them."""
    from agentkd.eval.bench.speed.students import bench_students, print_students

    result = bench_students(students, questions=questions, rounds=rounds, seed=seed, out=out)
    print_result(result, print_students, as_json)


@measure.command("select", cls=page(example="agentkd bench select --teacher tiny --reference tiny --documents 50"))
def bench_select(
    teacher: Annotated[str, typer.Option(help="the large model, or tiny")] = "smollm2-135m",
    reference: Annotated[str, typer.Option(help="the small model, or tiny")] = "tiny",
    documents: Annotated[int, typer.Option(min=2, help="texts, about 100 tokens each")] = 200,
    rounds: Annotated[int, typer.Option(min=0, help="interleaved rounds; both run once in each")] = 3,
    megabytes: Annotated[int, typer.Option(min=0, help="also measure the memory on a corpus of this size")] = 0,
    seed: Annotated[int, typer.Option(help="seed of every random choice")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for select.json [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """Choosing texts beside a plain scoring loop: speed, and memory."""
    from agentkd.eval.bench.speed.select import bench_select, print_select

    result = bench_select(
        teacher=teacher,
        reference=reference,
        documents=documents,
        rounds=rounds,
        megabytes=megabytes,
        seed=seed,
        out=out,
    )
    print_result(result, print_select, as_json)


@measure.command(cls=page(example="agentkd bench experience runs/titanic-agent-k runs/house-prices-agent-k runs/…"))
def experience(
    runs: Annotated[list[Path], typer.Argument(help="finished runs of kaggle run, of three competitions or more")],
    seed: Annotated[int, typer.Option(help="seed of the shuffled and forged cases")] = 0,
    out: Annotated[Path | None, typer.Option(help="the JSON file to write [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """How much sooner Agent K reaches its score where it knows other competitions.

    The runs are replayed in other orders; nothing is trained.
    """
    from agentkd.eval.bench.truth.experience import bench_experience, print_experience

    print_result(bench_experience(runs, seed=seed, out=out), print_experience, as_json)
