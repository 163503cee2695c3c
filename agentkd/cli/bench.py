"""`agentkd bench …`: thin functions that parse, call and print, as in `cli.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkd.cli.options import Data, Json, Kb, Limit, Split, give

measure = typer.Typer(help="Measure again what the README claims.", no_args_is_help=True, rich_markup_mode=None)


@measure.callback()
def measure_root() -> None:
    """Measure again what the README claims."""


@measure.command()
def retrieval(
    task: Annotated[str, typer.Option(help="geo, webqsp, cwq, metaqa, pathquestion, or a JSONL file")] = "geo",
    data: Data = None,
    kb: Kb = None,
    split: Split = None,
    retriever: Annotated[str, typer.Option(help="comma-separated; the others are compared with the first")] = "bm25",
    limit: Limit = None,
    seed: Annotated[int, typer.Option()] = 0,
    as_json: Json = False,
) -> None:
    """Path and passage retrieval: F1, Hit and Recall at several depths, and the time of a query."""
    from agentkd.eval.bench.retrieval import bench, show

    result = bench(task, data=data, kb=kb, split=split, retrievers=retriever, limit=limit, seed=seed)
    give(result, show, as_json)


@measure.command()
def client(
    requests: Annotated[int, typer.Option(min=1, help="requests a run")] = 2000,
    in_flight: Annotated[int, typer.Option(min=1, help="requests open at once")] = 64,
    pairs: Annotated[int, typer.Option(min=1, help="interleaved rounds; every client runs once in each")] = 5,
    latency: Annotated[str, typer.Option(help="lognormal (mean 0.25 s, sigma 1.2) or zero")] = "lognormal",
    peers: Annotated[str, typer.Option(help="comma-separated")] = "aiohttp,openai,curator,distilabel",
    install_peers: Annotated[bool, typer.Option("--install-peers", help="make .venv-peer-NAME where missing")] = False,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for the JSON and a plot [none]")] = None,
    as_json: Json = False,
) -> None:
    """Our client beside raw aiohttp, the OpenAI SDK, curator and distilabel, on a loopback server."""
    from agentkd.eval.bench.client import bench, show

    result = bench(
        requests=requests,
        in_flight=in_flight,
        pairs=pairs,
        latency=latency,
        peers=peers,
        install=install_peers,
        seed=seed,
        out=out,
    )
    give(result, show, as_json)


@measure.command()
def crash(
    questions: Annotated[int, typer.Option(min=1, help="of geo")] = 500,
    kills: Annotated[int, typer.Option(min=1, help="kill -9 at so many seeded moments")] = 20,
    in_flight: Annotated[int, typer.Option(min=1, help="questions in flight")] = 16,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="an empty folder for the runs and crash.json [none]")] = None,
    as_json: Json = False,
) -> None:
    """Kill a run again and again while its server fails: nothing may be lost, doubled or paid for twice."""
    from agentkd.eval.bench.crash import bench, show, verify

    result = bench(questions=questions, kills=kills, in_flight=in_flight, seed=seed, out=out)
    give(result, show, as_json)
    verify(result)


@measure.command("agent")
def bench_agent(
    questions: Annotated[int, typer.Option(min=1, help="of geo")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="passes over the same questions")] = 5,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for agent.json [none]")] = None,
    as_json: Json = False,
) -> None:
    """What a round of KD-CoT costs beside the model: LangGraph, our nodes, our client."""
    from agentkd.eval.bench.agent import bench, show

    result = bench(questions=questions, repeats=repeats, seed=seed, out=out)
    give(result, show, as_json)


@measure.command()
def server(
    teacher: Annotated[str, typer.Option(help="vllm:MODEL, local or URL#MODEL")],
    requests: Annotated[int, typer.Option(min=1, help="requests a block; each client has a block a pair")] = 64,
    in_flight: Annotated[int, typer.Option(min=1, help="requests open at once")] = 32,
    pairs: Annotated[int, typer.Option(min=1, help="interleaved pairs of blocks")] = 5,
    seed: Annotated[int, typer.Option()] = 0,
    vllm_args: Annotated[str, typer.Option(help="passed to the vLLM server that agentkd starts")] = "",
    out: Annotated[Path | None, typer.Option(help="folder for server.json and the server's log [none]")] = None,
    as_json: Json = False,
) -> None:
    """Our client's tokens a second on a real server, with KD-CoT's requests, against a raw client's."""
    from agentkd.eval.bench.server import bench, show

    result = bench(
        teacher=teacher,
        requests=requests,
        in_flight=in_flight,
        pairs=pairs,
        seed=seed,
        vllm_args=vllm_args,
        out=out,
    )
    give(result, show, as_json)


@measure.command()
def losses(
    tokens: Annotated[int, typer.Option(min=2, help="tokens of a batch")] = 1024,
    vocabulary: Annotated[int, typer.Option(min=2, help="tokens known")] = 151_936,
    width: Annotated[int, typer.Option(min=1, help="of the hidden states")] = 576,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved; each implementation runs once in each")] = 3,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for losses.json [none]")] = None,
    as_json: Json = False,
) -> None:
    """The chunked JSD beside the dense one and TRL's: time, peak memory, and that they are equal."""
    from agentkd.eval.bench.losses import bench, show

    result = bench(tokens=tokens, vocabulary=vocabulary, width=width, rounds=rounds, seed=seed, out=out)
    give(result, show, as_json)


@measure.command("gguf")
def bench_gguf(
    student: Annotated[str, typer.Argument(help="a student's directory, smollm2-135m or a hub name")],
    dtype: Annotated[str, typer.Option(help="f32 or f16")] = "f32",
    positions: Annotated[int, typer.Option(min=1, help="teacher-forced, of real text")] = 2400,
    strings: Annotated[int, typer.Option(min=1, help="to tokenise")] = 10_000,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for gguf.json [none]")] = None,
    as_json: Json = False,
) -> None:
    """An exported student in llama.cpp beside itself in transformers: next tokens, log-probabilities, tokenizers."""
    from agentkd.eval.bench.gguf import bench, show, verify

    result = bench(student, dtype=dtype, positions=positions, strings=strings, seed=seed, out=out)
    give(result, show, as_json)
    verify(result)


@measure.command("train")
def bench_train(
    student: Annotated[
        str, typer.Option(help="a model, or tiny: two random layers, to try the bench")
    ] = "smollm2-135m",
    methods: Annotated[str, typer.Option(help="comma-separated; sft and plain TRL always run")] = "logits",
    steps: Annotated[int, typer.Option(min=1, help="a run")] = 12,
    batch: Annotated[int, typer.Option(min=1, help="examples a step")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved; each method runs once in each")] = 5,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for train.json [none]")] = None,
    as_json: Json = False,
) -> None:
    """Training tokens a second of distill beside plain TRL's, and what each method costs in time and memory."""
    from agentkd.eval.bench.train import bench, show

    result = bench(student=student, methods=methods, steps=steps, batch=batch, rounds=rounds, seed=seed, out=out)
    give(result, show, as_json)


@measure.command()
def faithful(
    traces: Annotated[Path, typer.Option(help="a run directory with verified traces")],
    corruptions: Annotated[int, typer.Option(help="corrupted chains to try")] = 200,
    seed: Annotated[int, typer.Option()] = 0,
    as_json: Json = False,
) -> None:
    """The independent checker against corrupted chains: wrong relation, entity, direction."""
    from agentkd.eval.bench.faithful import bench, show

    result = bench(traces, corruptions=corruptions, seed=seed)
    give(result, show, as_json)


@measure.command()
def automl(
    data: Annotated[Path, typer.Option(help="folder of competitions, each with public/, private/, competition.json")],
    names: Annotated[str, typer.Option(help="competitions, comma-separated [all]")] = "",
    systems: Annotated[str, typer.Option(help="comma-separated")] = "agentkd,autogluon,flaml",
    seconds: Annotated[float, typer.Option(min=10, help="the clock of each run")] = 60.0,
    seeds: Annotated[int, typer.Option(min=1, help="seeds 0, 1, …")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="cores that each run gets")] = 2,
    python: Annotated[str, typer.Option(help="interpreter of the peers' environment")] = ".venv-automl/bin/python",
    out: Annotated[Path, typer.Option(help="folder of results; rows that are there are not run again")] = Path(
        "runs/automl"
    ),
    as_json: Json = False,
) -> None:
    """Agent K without a model beside AutoGluon and FLAML: the same clock and cores, chosen by cross-validation."""
    from agentkd.eval.bench.automl import bench, show

    result = bench(
        data=data, names=names, systems=systems, seconds=seconds, seeds=seeds, threads=threads, python=python, out=out
    )  # fmt: skip
    give(result, show, as_json)


@measure.command("students")
def bench_students(
    students: Annotated[str, typer.Argument(help="directories or names, comma-separated")],
    questions: Annotated[int, typer.Option(min=1, help="a round")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved; each student runs once in each")] = 5,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for students.json [none]")] = None,
    as_json: Json = False,
) -> None:
    """How fast students weigh paths and write, beside the first of them."""
    from agentkd.eval.bench.students import bench, show

    give(bench(students, questions=questions, rounds=rounds, seed=seed, out=out), show, as_json)
