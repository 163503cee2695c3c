"""`agentkd import` and `export-traces` as commands: kills, odd files, older shapes, and what they say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import ImportConfig
from agentkd.errors import UserError
from agentkd.interchange.export_run import export_traces
from agentkd.interchange.import_run import REJECTS, import_traces
from agentkd.interchange.session import KEY
from agentkd.runs.read import read_traces
from agentkd.trace import Message, Step, ToolResult, Trace, Verdict
from tests.support.commands import call
from tests.support.foreign_traces import write_file
from tests.support.paths import ROOT
from tests.support.traces import make_trace, write_run
from tests.support.warm import warm

ASK, ANSWER = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Oslo."}


def write_rows(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_one(path: Path, out: Path, **options: Any) -> Trace:
    assert import_traces(ImportConfig(files=(str(path),), out=str(out), **options))["rejected"] == 0
    (trace,) = read_traces(out)
    return trace


def test_an_import_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    """What is on the disk stays; a torn line is written again."""
    write_file(tmp_path / "in.jsonl", "langfuse", 40)
    config = ImportConfig(files=(str(tmp_path / "in.jsonl"),), out=str(tmp_path / "run"))
    import_traces(config)
    shard = tmp_path / "run" / "traces-0.jsonl"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "run" / "spans.sqlite").write_text("left over")
    import_traces(config)
    assert shard.read_bytes() == whole and not (tmp_path / "run" / "spans.sqlite").exists()


@pytest.mark.whole
def test_a_killed_import_goes_on_and_is_the_same(tmp_path: Path) -> None:
    """Killed three times in the middle; the shard is that of an import in one go."""
    write_file(tmp_path / "in.jsonl", "langfuse", 400)
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("{broken\n")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    import_traces(ImportConfig(files=(str(tmp_path / "in.jsonl"),), out=str(whole)))
    command = [sys.executable, "-m", "agentkd", "import", str(tmp_path / "in.jsonl"), "--out", str(killed)]
    shard = killed / "traces-0.jsonl"
    for number in (1, 2, 3):
        process = warm("agentkd.cli.main", "agentkd.interchange.import_run").popen(command)
        until = time.monotonic() + 60
        while (shard.stat().st_size if shard.exists() else 0) < number * (whole / "traces-0.jsonl").stat().st_size / 5:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (killed / "manifest.json").exists()
    assert warm("agentkd.cli.main", "agentkd.interchange.import_run").run(command).returncode == 0
    for name in ("traces-0.jsonl", REJECTS, "metrics.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert not (killed / "spans.sqlite").exists()


def test_the_commands_say_what_they_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"messages": [ASK, ANSWER]}, {"messages": [ASK]}, {"messages": [ASK, ANSWER], "id": 7}, {"id": "x"}]
    write_rows(Path("mine.jsonl"), *rows)
    code, out, error = call(["import", "mine.jsonl"], monkeypatch, capsys)
    assert code == 0 and not out
    assert "openai: mine.jsonl" in error
    assert "rejected: mine.jsonl:2: no message of an assistant after another message" in error
    assert "rejected: mine.jsonl:4: the row has no list of messages" in error
    assert "rejected 2 rows: runs/mine-imported/rejects.jsonl has all of them" in error
    assert "2 sessions of 2 ids: 2 replies, 0 tool calls, 0 tokens" in error
    assert "next: agentkd verify runs/mine-imported --verify VERIFIER" in error
    assert [trace.id for trace in read_traces(Path("runs/mine-imported"))] == ["mine-1", "7"]
    assert (tmp_path / "runs/mine-imported/report.html").exists()
    code, out, _ = call(["import", "mine.jsonl", "--json"], monkeypatch, capsys)
    assert code == 0 and json.loads(out)["traces"] == 2
    code, _, error = call(["export-traces", "runs/mine-imported", "--out", "again.jsonl"], monkeypatch, capsys)
    assert code == 0 and "wrote again.jsonl (2 traces as openai)" in error
    again = [json.loads(line) for line in Path("again.jsonl").read_text().splitlines()]
    assert [row["messages"] for row in again] == [[ASK, ANSWER]] * 2 and again[1]["id"] == 7


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["import", "nowhere.jsonl"], "no such file or folder: nowhere.jsonl; did you mean no.jsonl"),
        (["import", "empty"], "empty has no file that ends in .jsonl"),
        (["import", "no.jsonl"], "no.jsonl has no row of a known format: give --format openai, sts"),
        (["import", "no.jsonl", "no.jsonl"], "no.jsonl is named twice"),
        (["import", "no.jsonl", "--format", "openai"], "no session of 1 files could be read: 1 rows were rejected"),
        (["import", "no.jsonl", "--format", "opena"], "'format' = 'opena'"),
        (["export-traces", "empty"], "empty is not a run directory"),
        (["export-traces", "run", "--format", "adb"], "unknown format 'adb'; did you mean adp?"),
        (["export-traces", "run", "--verified"], "run has no trace to export (1 not verified)"),
    ],
)
def test_bad_input_is_one_line(
    argv: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write_rows(Path("no.jsonl"), {"a": 1})
    write_rows(Path("yes.jsonl"), {"messages": [ASK, ANSWER]})
    import_traces(ImportConfig(files=("yes.jsonl",), out="run"))
    capsys.readouterr()
    code, _, error = call(argv, monkeypatch, capsys)
    assert code == 2 and line in error and error.splitlines()[-1].startswith("error: ")


def test_the_same_id_again_is_another_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"role": "assistant", "content": "Bergen."}
    rows = [{"id": "q", "messages": [ASK, ANSWER]}, {"id": "q", "messages": [ASK, other]}]
    import_traces(ImportConfig(files=(str(write_rows(tmp_path / "a.jsonl", *rows)),), out=str(tmp_path / "run")))
    assert [(t.id, t.sample, t.answers) for t in read_traces(tmp_path / "run")] == [
        ("q", 0, ("Oslo.",)), ("q", 1, ("Bergen.",)),
    ]  # fmt: skip
    assert "1 sessions have the id of an earlier one" in capsys.readouterr().err


def test_other_files_need_another_directory(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "a.jsonl", {"messages": [ASK, ANSWER]})
    import_traces(ImportConfig(files=(str(first),), out=str(tmp_path / "run")))
    write_rows(first, {"messages": [ASK, ANSWER]}, {"messages": [ASK, ANSWER]})
    with pytest.raises(UserError, match="hash_files"):
        import_traces(ImportConfig(files=(str(first),), out=str(tmp_path / "run")))


def test_a_limit_may_grow(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", *({"messages": [ASK, ANSWER]} for _ in range(5)))
    for limit, count in ((2, 2), (4, 4), (None, 5)):
        found = import_traces(ImportConfig(files=(str(file),), out=str(tmp_path / "run"), limit=limit))
        assert found["traces"] == count and len(list(read_traces(tmp_path / "run"))) == count


def test_what_has_no_field_is_kept(tmp_path: Path) -> None:
    """Keys that agentkd does not know, a message after the last reply, and functions from before there were tools."""
    call_ = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{ }"}, "weight": 0}
    row = {
        "messages": [
            {"role": "assistant", "content": "Hello."}, {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            call_, {"role": "function", "name": "f", "content": "1"}, {**ANSWER, "name": "bot"}, ASK,
        ],
        "functions": [{"name": "f", "parameters": {}}], "metadata": {"x": [1]}, "parallel_tool_calls": False,
    }  # fmt: skip
    trace = read_one(write_rows(tmp_path / "a.jsonl", row), tmp_path / "run")
    assert [step.output for step in trace.steps] == ["", "Oslo."] and trace.question == "a\nb"
    assert trace.steps[0].evidence == (ToolResult(name="f", arguments="{ }", result="1"),)
    assert trace.provenance[KEY]["trailing"][0]["content"] == "Where?"
    out = export_traces(tmp_path / "run", "openai", out=tmp_path / "b.jsonl")
    again = json.loads(Path(out["out"]).read_text())
    told = [*row["messages"]]
    told[2] = {**told[2], "content": "a\nb"}
    told[3] = {**call_, "content": ""}
    assert again["messages"] == told and again["metadata"] == {"x": [1]}
    assert again["tools"] == [{"type": "function", "function": row["functions"][0]}]


def span(attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    listed = [
        {"key": k, "value": {"intValue": v} if isinstance(v, int) else {"stringValue": v}}
        for k, v in attributes.items()
    ]
    own = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "chat", "startTimeUnixNano": "5", "attributes": listed}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [own | more]}]}]}


def parts(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


@pytest.mark.parametrize("shape", ["instructions apart", "event", "openllmetry", "openinference"])
def test_other_ways_to_write_spans(shape: str, tmp_path: Path) -> None:
    asked, told = json.dumps([parts("user", "Where?")]), json.dumps([parts("assistant", "Oslo.")])
    if shape == "instructions apart":
        system = json.dumps([{"type": "text", "content": "Be brief."}])
        row = span(
            {"gen_ai.system_instructions": system, "gen_ai.input.messages": asked, "gen_ai.output.messages": told}
        )
    elif shape == "event":
        listed = [
            {"key": f"gen_ai.{k}.messages", "value": {"stringValue": v}}
            for k, v in (("input", asked), ("output", told))
        ]
        row = span({}, events=[{"name": "gen_ai.client.inference.operation.details", "attributes": listed}])
    elif shape == "openllmetry":
        out = "gen_ai.completion.0"
        row = span(
            {
                "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Where?", f"{out}.content": "Oslo.",
                f"{out}.role": "assistant", "gen_ai.usage.prompt_tokens": 3, "llm.request.functions.0.name": "f",
                f"{out}.tool_calls.0.name": "f", f"{out}.tool_calls.0.arguments": "{ }",
                f"{out}.tool_calls.0.id": "c1",
            }
        )  # fmt: skip
    else:
        out = "llm.output_messages.0.message"
        row = span(
            {
                "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Where?",
                f"{out}.role": "assistant", f"{out}.content": "Oslo.", "llm.token_count.prompt": 3,
                f"{out}.tool_calls.0.tool_call.function.name": "f", f"{out}.tool_calls.0.tool_call.id": "c1",
                f"{out}.tool_calls.0.tool_call.function.arguments": "{ }",
                "llm.tools.0.tool.json_schema": json.dumps({"type": "function", "function": {"name": "f"}}),
            }
        )  # fmt: skip
    trace = read_one(write_rows(tmp_path / "a.jsonl", row), tmp_path / "run", format="otlp")
    (step,) = trace.steps
    assert step.messages[-1] == Message(role="user", content="Where?") and step.output == "Oslo."
    if shape == "instructions apart":
        assert step.messages[0] == Message(role="system", content="Be brief.")
        export_traces(tmp_path / "run", "otlp", out=tmp_path / "b.jsonl")
        assert "gen_ai.system_instructions" in (tmp_path / "b.jsonl").read_text()
    if shape.startswith("open"):
        assert [(c.id, c.name, c.arguments) for c in step.tool_calls] == [("c1", "f", "{ }")]
        assert trace.usage.prompt_tokens == 3 and len(trace.tools) == 1


def test_spans_without_contents_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_rows(tmp_path / "a.jsonl", span({"gen_ai.operation.name": "chat"}))
    with pytest.raises(UserError, match="no session"):
        import_traces(ImportConfig(files=(str(file),), out=str(tmp_path / "run")))
    assert "contents are often not recorded by default" in capsys.readouterr().err


def test_a_tool_that_failed_says_so(tmp_path: Path) -> None:
    """The result is only in the tool's own run, with its status."""
    made = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    runs = [
        {
            "id": "r", "trace_id": "t", "run_type": "llm", "inputs": {"messages": [ASK]},
            "outputs": {"choices": [{"message": {"role": "assistant", "content": "", "tool_calls": [made]}}]},
        },
        {
            "id": "s", "trace_id": "t", "run_type": "tool", "inputs": {}, "dotted_order": "z",
            "outputs": {"output": {"type": "tool", "content": "no file", "tool_call_id": "c1", "status": "error"}},
        },
    ]  # fmt: skip
    trace = read_one(write_rows(tmp_path / "a.jsonl", *runs), tmp_path / "run")
    assert trace.steps[0].evidence == (ToolResult(name="f", arguments="{}", result="no file", ok=False, id="c1"),)


def test_an_agent_that_asks_anew_has_several_conversations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As KD-CoT does: each is a row, and in formats of spans all are calls of one trace, beside its steps of code."""
    one, two = (Message(role="user", content=text) for text in ("plan?", "answer?"))
    code = make_trace("x").steps
    steps = (*code, Step(kind="plan", messages=(one,), output="p"), Step(kind="answer", messages=(two,), output="a"))
    fields: dict[str, Any] = {"verdict": Verdict(ok=True, rung="gold"), "verified": True, "teacher": "local"}
    trace = Trace.close(id="q", sample=0, task="geo", question="?", steps=steps, answers=("a",), **fields)
    run = write_run(tmp_path / "run", [trace, make_trace("France")])
    out = export_traces(run, "openai", out=tmp_path / "a.jsonl.gz", verified=True)
    assert (out["traces"], out["sessions"]) == (1, 2)
    told = capsys.readouterr().err
    assert "left out: 1 without a call of a model" in told and "1 traces hold 2 conversations" in told
    found = import_traces(ImportConfig(files=(str(tmp_path / "a.jsonl.gz"),), out=str(tmp_path / "again")))
    assert found["traces"] == 2 and [t.id for t in read_traces(tmp_path / "again")] == ["q", "q#2"]
    assert export_traces(run, "otlp", out=tmp_path / "b.jsonl")["traces"] == 2
    first = json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0])
    root, *spans = first["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert root["name"] == "invoke_agent geo"
    assert [one["name"] for one in spans] == ["survey", "gold", "chat local", "chat local"]
    assert len({one["spanId"] for one in spans}) == 4
    assert {one["parentSpanId"] for one in spans} == {root["spanId"]}


@pytest.mark.whole
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """200 MB in one array, the parts of each trace far from each other, beside a file with two traces."""
    row = {"type": "GENERATION", "input": [ASK | {"content": "x" * 20_000}], "output": ANSWER}
    peaks = []
    for count in (4, 10_000):
        with (tmp_path / "big.json").open("w") as file:
            for number in range(count):
                own = {"traceId": f"t{number % (count // 2)}", "id": str(number), **row}
                file.write(("," if number else "[") + json.dumps(own))
            file.write("]")
        code = (
            "import resource, sys; from agentkd.interchange.import_run import import_traces as run; "
            "from agentkd.config import ImportConfig; run(ImportConfig(files=(sys.argv[1],), out=sys.argv[2])); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        argv = [sys.executable, "-c", code, str(tmp_path / "big.json"), str(tmp_path / f"run{count}")]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 1000)  # MB
    assert peaks[1] - peaks[0] < 120
