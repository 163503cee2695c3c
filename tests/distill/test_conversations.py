"""Traces of agents with tools as rows: with calls and schemas, through the template; the model's turns are learned."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig
from agentkd.distill.data.conversations import find_conversations
from agentkd.distill.data.dataset import build_dataset, trl_row
from agentkd.distill.data.forms import Example, agent_examples
from agentkd.distill.data.tokens import IGNORED, Row
from agentkd.distill.data.turns import fit_conversations
from agentkd.distill.resolve import refuse_options
from agentkd.errors import UserError
from agentkd.trace import Message, Step, ToolCall, Trace, Verdict
from tests.support.tool_templates import LLAMA, PLAIN, QWEN, THINKER

LOOK, ADD = (
    {"type": "function", "function": {"name": name, "description": f"To {name}.", "parameters": {"type": "object"}}}
    for name in ("look", "add")
)
ASKED = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="1?"),
    Message(role="assistant", content="An example of the agent's author."),
    Message(role="user", content="Where is Bern?"),
)


def call(id: str, text: str, name: str = "look") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=text)


def told(id: str, text: str) -> Message:
    return Message(role="tool", content=text, tool_call_id=id)


def as_sent(step: Step) -> Message:
    """A reply as frameworks send it again: the arguments written anew, the thoughts dropped."""
    calls = tuple(
        each.model_copy(update={"arguments": json.dumps(json.loads(each.arguments))}) for each in step.tool_calls
    )
    return Message(role="assistant", content=step.output, tool_calls=calls)


def close(*steps: Step, id: str = "q", question: str = "Where is Bern?", **fields: Any) -> Trace:
    made = {
        "verified": True,
        "verdict": Verdict(ok=True, rung="exact"),
        "answers": ("Switzerland",),
        "tools": (LOOK, ADD),
    }
    return Trace.close(id=id, sample=0, task="t", question=question, steps=steps, teacher="t", **(made | fields))


def session(*first: ToolCall) -> Trace:
    """A call or several, its results, and an answer."""
    calls = first or (call("c1", '{"at":  "Bern"}'),)
    one = Step(kind="call", messages=ASKED, tool_calls=calls, tools=(0,), reasoning="A map helps.")
    results = [told(each.id, "In Europe.") for each in calls]
    two = Step(kind="call", messages=(*ASKED, as_sent(one), *results), output="Switzerland", tools=(0,))
    return close(one, two, Step(kind="verify", verdict=Verdict(ok=True, rung="exact")))


@functools.cache
def tokenizer(template: str) -> Any:
    """A tokenizer over bytes with the end token of these templates."""
    from tests.support.vocabularies import byte_level

    made = byte_level()
    made.chat_template = template.replace("<|im_end|>", made.eos_token)
    return made


def learned(row: Row, of: Any) -> list[str]:
    """The texts that a row teaches, one a turn."""
    texts, turn = [], list[int]()
    for label in [*row["labels"], IGNORED]:
        if label != IGNORED:
            turn.append(label)
        elif turn:
            texts.append(of.decode(turn))
            turn = []
    return texts


def fit_one(example: Example, template: str) -> tuple[Row, Any]:
    of = tokenizer(template)
    ((_, row),) = fit_conversations([example], of)
    return row, of


@pytest.mark.parametrize(
    ("template", "call_text", "schema"),
    [
        (QWEN, '<tool_call>\n{"name": "look", "arguments": {"at": "Bern"}}\n</tool_call>', "<tools>"),
        (LLAMA, '{"name": "look", "parameters": {"at": "Bern"}}', '"name": "look"'),
    ],
)
def test_calls_and_schemas_go_through_the_template_and_the_models_own_turns_are_learned(
    template: str, call_text: str, schema: str
) -> None:
    (example,) = agent_examples(session())
    row, of = fit_one(example, template)
    end = of.eos_token
    assert [text.strip() for text in learned(row, of)] == [f"{call_text}{end}", f"Switzerland{end}"]
    whole = of.decode(row["input_ids"])
    assert schema in whole and "To look." in whole and "In Europe." in whole and "To add." not in whole
    assert "An example of the agent's author." in whole
    # what a student is shown when it is asked is what it was trained on, token by token
    given = row["labels"].index(next(label for label in row["labels"] if label != IGNORED))
    from agentkd.inference.in_process import apply_template

    shown = apply_template(of, example.prompt[:4], tools=[LOOK], add_generation_prompt=True)
    assert of(shown, add_special_tokens=False)["input_ids"] == row["input_ids"][:given]
    full = apply_template(of, [*example.prompt, example.reply], tools=[LOOK])
    assert full.startswith(whole)


def test_a_template_without_tools_is_refused_in_a_line_before_anything_is_trained() -> None:
    (example,) = agent_examples(session())
    with pytest.raises(UserError) as error:
        fit_conversations([example], tokenizer(PLAIN))
    assert "leaves out the schemas and calls of tools: choose a student whose template writes them" in str(error.value)
    assert "\n" not in str(error.value)
    talk = close(Step(kind="call", messages=ASKED, output="Switzerland"))
    row, of = fit_one(agent_examples(talk)[0], PLAIN)
    assert learned(row, of) == [f"Switzerland{of.eos_token}"], "without tools it will do"


def test_what_a_template_refuses_is_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    two = session(call("c1", '{"at": "Bern"}'), call("c2", '{"at": "Rome"}'))
    broken = close(Step(kind="call", messages=ASKED, tool_calls=(call("c", '{"at": '),), tools=(0,)))
    examples = [example for trace in (session(), two, broken) for example in agent_examples(trace)]
    found = fit_conversations(examples, tokenizer(LLAMA))
    assert len(found) == 1
    said = capsys.readouterr().err
    assert "1 conversations are left out: " in said and "only supports single tool-calls" in said
    assert "1 conversations are left out: the arguments of a tool call are no JSON object" in said
    assert len(fit_conversations(examples[:2], tokenizer(QWEN))) == 2, "another takes several calls at once"
    with pytest.raises(UserError, match="none of 1 conversations: the arguments"):
        fit_conversations(examples[2:], tokenizer(QWEN))


def test_where_the_template_rewrites_earlier_turns_each_is_a_row_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = agent_examples(session())
    of = tokenizer(THINKER)
    pairs = fit_conversations([example], of)
    assert "in 1 conversations each turn is a row of its own" in capsys.readouterr().err
    texts = [learned(row, of) for _, row in pairs]
    assert len(texts) == 2 and all(len(turns) == 1 for turns in texts)
    assert (
        "A map helps." in texts[0][0]
        and '"at": "Bern"' in texts[0][0]
        and texts[1][0].endswith(f"Switzerland{of.eos_token}")
    )
    shown = of.decode(pairs[1][1]["input_ids"])
    assert "A map helps." not in shown, "as it is shown when it is asked"
    fit_conversations([example], tokenizer(QWEN))
    assert "1 turns have thoughts that the student's chat template leaves out" in capsys.readouterr().err


def test_calls_of_several_conversations_are_told_apart() -> None:
    plan = Step(kind="call", messages=(Message(role="user", content="Plan."),), output="1. Bern 2. Rome")
    one, other = (
        Step(
            kind="call",
            messages=(Message(role="user", content=f"Look at {at}."),),
            tool_calls=(call(at, f'{{"at": "{at}"}}'),),
            tools=(0,),
        )
        for at in ("Bern", "Rome")
    )
    ends = [
        Step(kind="call", messages=(*each.messages, as_sent(each), told(at, "!")), output=f"{at}!", tools=(0,))
        for each, at in ((other, "Rome"), (one, "Bern"))
    ]
    trimmed = Step(kind="call", messages=(Message(role="user", content="Shorter."),), output="So.", tools=(0, 1))
    found = find_conversations(close(plan, one, other, *ends, trimmed))
    said = [[message.content for message in each.said if message.role == "assistant"] for each in found]
    assert said == [["1. Bern 2. Rome"], ["", "Bern!"], ["", "Rome!"], ["So."]]
    assert [len(each.tools) for each in found] == [0, 1, 1, 2]
    assert found[1].said[1].tool_calls[0].arguments == '{"at": "Bern"}', (
        "as the model wrote it, not as it was sent again"
    )


def test_steps_that_follow_give_the_same_conversation_as_steps_that_repeat() -> None:
    long = session()
    one, two, _ = long.steps
    short = close(one, Step(kind="call", messages=two.messages[5:], output="Switzerland", tools=(0,), follows=True))
    assert find_conversations(short) == find_conversations(long)


def test_a_data_set_of_an_agents_traces(tmp_path: Path) -> None:
    traces = [
        session(),
        close(Step(kind="code"), id="r", question="Else?"),
        close(id="s", question="No?", verified=False),
    ]
    found = build_dataset(traces, "agent")
    assert found.left_out == {"no model call": 1, "not verified": 1}
    row = trl_row(found.examples[0])
    assert json.loads(row["tools"]) == [LOOK] and row["given"] == 4
    assert row["messages"][4]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":  "Bern"}'}
    found.save(tmp_path)
    import datasets

    table = datasets.load_from_disk(str(tmp_path / "dataset"))
    assert json.loads(table[0]["tools"]) == [LOOK] and table[0]["messages"][5]["tool_call_id"] == "c1"


@pytest.mark.parametrize("method", ["on-policy", "preference", "cross-tokenizer"])
def test_methods_that_cannot_learn_calls_refuse_the_form(method: str) -> None:
    config = DistillConfig(form="agent", method=method, teacher="t")
    with pytest.raises(UserError, match=f"--method {method} .*"):
        refuse_options(config, method, "forward")
    with pytest.raises(UserError, match="--privacy"):
        refuse_options(DistillConfig(form="agent", privacy="mask"), "sft", "forward")


def test_a_student_learns_conversations_end_to_end_and_the_form_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from agentkd.config import GenerateConfig
    from agentkd.distill.stages import distill
    from agentkd.runs.store import RunDirectory
    from tests.support.students import sft_config, student_with
    from tests.support.vocabularies import byte_level

    items = [{"id": name, "question": f"Where is {name}?", "split": "train"} for name in ("Bern", "Rome", "Oslo")]
    items.append({"id": "held", "question": "Where is Oslo?", "split": "test"})
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    config = GenerateConfig(task=str(tmp_path / "items.jsonl"), split="train", agent="mine.agent:graph")
    with RunDirectory(tmp_path / "run", "generate", config, {}) as run:
        for name in ("Bern", "Rome", "Oslo"):
            steps = session(call("c1", json.dumps({"at": name}))).steps
            run.append(close(*steps, id=name, question=f"Where is {name}?"))
        run.finish({})
    for template, name in ((PLAIN, "plain"), (QWEN, "qwen")):
        of = byte_level()
        student_with(tmp_path / name, of, seed=0, chat=template.replace("<|im_end|>", of.eos_token))
    plain = sft_config(tmp_path / "plain", tmp_path / "run", tmp_path / "none", form=None)
    with pytest.raises(UserError, match="leaves out the schemas and calls of tools"):
        distill(plain)
    assert not (tmp_path / "none").exists(), "nothing was trained, nothing was written"
    capsys.readouterr()
    metrics = distill(sft_config(tmp_path / "qwen", tmp_path / "run", tmp_path / "student", form=None))
    said = capsys.readouterr().err
    assert "sft · agent · " in said and "1 asked at evaluation" in said
    assert metrics["examples"] == 2 and metrics["loss_last"] < metrics["loss_first"]
    assert metrics["next"].startswith("agentkd serve ")
    rows = [json.loads(line) for line in (tmp_path / "student/dataset.jsonl").read_text().splitlines()]
    assert [json.loads(row["tools"]) for row in rows] == [[LOOK], [LOOK]]
