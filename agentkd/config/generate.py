"""The options of `agentkd generate`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agentkd.config.base import INSECURE, OTLP, OTLP_CONTENT, Spec, StageConfig


class GenerateConfig(StageConfig):
    """`agentkd generate`: a task's questions through an agent and a teacher."""

    EXTENT: ClassVar[frozenset[str]] = frozenset(
        {
            "limit",
            "samples",
            "rationalise",
            "until_verified",
            "concurrency",
            "max_tokens",
            "max_usd",
            "timeout",
            "token_timeout",
            "prices",
            "batch",
            "insecure",
            "vllm_args",
            "agent_timeout",
            "agent_calls",
            "verify_timeout",
            "retry_failed",
            "otlp",
            "otlp_content",
        }
    )

    task: str = Field(
        "geo",
        description="geo, webqsp, cwq, metaqa, pathquestion, kgqagen, sql, math, or a JSONL file of questions (for an "
        "agent of your own: of items)",
    )
    data: str | None = Field(None, description="folder with the task's files [default: the hub; geo is packaged]")
    kb: Spec = Field(
        None,
        description="facts: a TSV, CSV, JSONL or RDF file, a folder of nodes and edges, a SPARQL URL, or wikidata "
        "[default: the task's own]",
    )
    kb_columns: str | None = Field(
        None, description="head, relation and tail among the KB file's columns, by name or number [default: its header]"
    )
    aliases: str | None = Field(
        None, description="a table of entities of the KB and other names for them [default: the task's own]"
    )
    split: str | None = Field(None, description="split of the task [default: generate: train; eval: test, else dev]")
    limit: int | None = Field(None, ge=1, description="a seeded subset of this many questions [default: all]")
    shard: str | None = Field(
        None, description="i/n: only the i-th of n parts of the questions; `agentkd merge` joins the runs of all parts"
    )
    agent: str = Field("kd-cot", description="{agents}, or your own: pkg.module:graph or FILE.py:graph")
    verify: str | None = Field(
        None,
        description="your own agent: verifiers of its answers, comma-separated, the cheapest first, such as exact or "
        "pkg.checks:function [default: nothing is verified]",
    )
    teacher: Spec = Field(
        None,
        description="local, vllm:MODEL, openai:MODEL, URL#MODEL or none [default: $AGENTKD_TEACHER, else vLLM where a "
        "GPU is seen, else local]",
    )
    insecure: bool = Field(False, description=INSECURE)
    otlp: Spec = Field(None, description=OTLP)
    otlp_content: bool = Field(False, description=OTLP_CONTENT)
    vllm_args: str = Field("", description="arguments for the vLLM server that agentkd starts")
    retriever: str | None = Field(
        None,
        description="bm25, dense, hybrid, or a folder from `feedback` [default: hybrid where installed, else bm25]",
    )
    paths: int | None = Field(
        None, ge=1, description="relation paths that a model chooses from [default: 5; path-writer: 12]"
    )
    hops: int | None = Field(None, ge=1, description="longest relation path in KB edges [default: by the task]")
    rerank: bool | None = Field(
        None,
        description="let the retriever's reranker rank the first paths again "
        "[default: where it has one, but for top-path]",
    )
    rounds: int = Field(4, ge=1, description="KD-CoT: at most this many rounds per question")
    demos: str | None = Field(
        None, description="run directories whose verified traces are the worked examples [default: packaged ones]"
    )
    examples: int = Field(6, ge=0, description="worked examples shown to the reader")
    shuffle: bool = Field(False, description="control: permute the tails of each relation of the KB")
    reader: Literal["complete", "choose"] | None = Field(
        None, description="complete (continue a pattern) or choose (follow an instruction) [default: by the model]"
    )
    trust: float | None = Field(None, ge=0, description="nats that the model's choice adds [default: by the model]")
    votes: int | None = Field(
        None, ge=1, description="readings per question of the reader `complete` [default: by the server]"
    )
    constrain: Literal["kb", "none"] | None = Field(
        None, description="kb: a path-writer writes only paths that the KB holds; none: anything [default: kb]"
    )
    judge: bool = Field(False, description="let the teacher judge what is proven, before gold does")
    rationalise: bool = Field(
        False, description="a second chance, hinted by gold and flagged, for questions that stay unproven"
    )
    samples: int = Field(1, ge=1, description="traces per question")
    until_verified: bool = Field(False, description="stop sampling a question once a sample is verified")
    temperature: float | None = Field(
        None, ge=0, description="sampling temperature [default: 0 for one sample, 0.7 for more]"
    )
    concurrency: int | None = Field(None, ge=1, description="questions in flight [default: 4 local, 32 served]")
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="stop before the run has used this many prompt and completion tokens [default: no limit]",
    )
    max_usd: float | None = Field(
        None, gt=0, description="stop before the run has cost this many US dollars [default: no limit]"
    )
    prices: str | None = Field(None, description="a price table (YAML) that overrides the packaged one")
    timeout: float = Field(600.0, gt=0, description="seconds to wait for one response")
    token_timeout: float = Field(0.05, ge=0, description="more seconds for each token that a request asks for")
    agent_timeout: float = Field(
        600.0, gt=0, description="your own agent: its seconds for a sample, beside the model's"
    )
    agent_calls: int = Field(50, ge=1, description="your own agent: most model calls of a sample")
    answer_tokens: int | None = Field(
        None, ge=1, description="your own agent: tokens of an answer where it sets no bound [default: 2048]"
    )
    answer_field: str | None = Field(
        None, description="your own agent: the field of its result that is the answer [default: found, or told]"
    )
    verify_timeout: float = Field(30.0, gt=0, description="your own agent: seconds for one call of a verifier")
    retry_failed: bool = Field(False, description="your own agent: try samples again in which it failed for good")
    batch: str | None = Field(
        None, description="ask offline: requests and answers as OpenAI batch files in this folder"
    )
