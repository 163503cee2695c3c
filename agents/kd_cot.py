"""KD-CoT: chain of thought whose every sub-answer comes from a knowledge base (arXiv 2308.13259).

A LangGraph of six nodes. The model plans in KD-CoT's form (Thought, Action, Answer; the actions are Question,
Multi_Answer_Question and Finish; at most four rounds, section 3.1), the KB is asked around the last proven answer,
the model reads (it chooses among executed relation paths), and the choice must be proven before it becomes an
Answer:

    plan ─► ask ─► retrieve ─► read ─► verify ─┐
     ▲ └► finish                               │
     └─────────────────────────────────────────┘

Differences from the paper: the reader is the model itself with a closed set of choices instead of FiD, because a
choice among executed paths carries its own evidence; and Finish hands over the full answer set of the last proven
round, where the paper keeps the model's text (that text is kept on record as the model's guess).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from langgraph.graph import END, START, StateGraph

from agentkd.agents.base import AgentContext, chat_messages
from agentkd.agents.option import Option, match_option, proof, prove, union_answers
from agentkd.agents.reading import UNION, decide
from agentkd.agents.survey import survey_step
from agentkd.matching import normalize
from agentkd.prompts import demonstrations, render
from agentkd.retrievers.bm25 import mask_topics
from agentkd.trace import Draft, Message, Step, Usage

if TYPE_CHECKING:
    from agentkd.tasks.task import Question

ACTIONS = ("Question", "Multi_Answer_Question", "Finish")
PLAN_TOKENS = 128
READ_TOKENS = 96
NONE = "none of these"


Vote = tuple[list[Option], Step, Usage]


class Round(TypedDict):
    """One accepted round; `proof` leads from the round's anchors to its answers (see `base.proof`)."""

    thought: str
    action: str
    input: str
    answers: list[str]
    proof: dict[str, Any]


class State(TypedDict, total=False):
    """What the nodes hand on. It lives in memory only: cache and store resume a run."""

    id: str
    question: str
    topics: list[str]
    sample: int
    rounds: list[Round]
    plan: dict[str, str]
    options: list[Any]
    choice: Any
    refused: list[str]
    turns: int
    repairs: int
    steps: list[Any]
    usage: dict[str, Any]


class KDCoT:
    """Solves a question round by round; a run is resumed through the response cache, without a checkpointer."""

    name = "kd-cot"

    def __init__(self, context: AgentContext) -> None:
        self.context = context
        graph = StateGraph(State)
        for node in (self.survey, self.plan, self.retrieve, self.read, self.verify):
            graph.add_node(node.__name__, node)
        graph.add_edge(START, "survey")
        graph.add_edge("survey", "plan")
        graph.add_conditional_edges("plan", self.after_plan, ["retrieve", END])
        graph.add_edge("retrieve", "read")
        graph.add_edge("read", "verify")
        graph.add_conditional_edges("verify", self.after_verify, ["plan", END])
        self.graph = graph.compile()

    async def solve(self, question: Question, sample: int) -> Draft:
        start = State(
            id=question.id,
            question=question.question,
            topics=self.context.retrieval.topics(question),
            sample=sample,
            rounds=[],
            refused=[],
            turns=0,
            repairs=0,
            steps=[],
            usage={},
        )
        # every turn passes four nodes; the recursion limit only guards against a fault in the graph
        end = cast(State, await self.graph.ainvoke(start, {"recursion_limit": 10 + 5 * self.context.settings.rounds}))
        rounds = end["rounds"]
        return Draft(
            steps=tuple(end["steps"]),
            answers=tuple(rounds[-1]["answers"]) if rounds else (),
            usage=Usage.model_validate(end["usage"]),
            provenance={
                **chained([done["proof"] for done in rounds]),
                "topics": end["topics"],
                "rounds": len(rounds),
                "repairs": end["repairs"],
            },
        )

    async def survey(self, state: State) -> State:
        """What the KB offers for the whole question, recorded for the student (see `survey_step`)."""
        options = await self.context.retrieval.options(state["question"], state["topics"], topics=True)
        options = await self.context.retrieval.constrain(state["question"], state["topics"], options)
        return {"steps": [survey_step(options, state["topics"])]}

    async def plan(self, state: State) -> State:
        """Thought and action. Before anything is proven, Finish is not among the choices. A small model, whose reader
        completes a pattern, is not asked: its first action can only be to ask the whole question, and its thoughts
        changed no answer for the better (docs/log.md)."""
        if self.context.settings.reader == "complete":
            plan = {"thought": "", "action": ACTIONS[1], "input": state["question"]}
            return {
                "plan": plan,
                "turns": state["turns"] + 1,
                "steps": [*state["steps"], Step(kind="plan", output=compact(plan))],
            }
        allowed = ACTIONS if state["rounds"] else ACTIONS[:2]
        messages = chat_messages(
            render("kd_cot/system"),
            *demonstration_turns(state["question"]),
            render("kd_cot/plan", question=state["question"], rounds=state["rounds"]),
        )
        reply = await self.context.model.chat(
            messages,
            max_tokens=PLAN_TOKENS,
            schema=plan_schema(allowed),
            temperature=self.context.settings.temperature,
            sample=state["sample"],
        )
        plan, repaired = parse_plan(reply.text, allowed, state["question"])
        step = Step(kind="plan", messages=tuple(messages), output=reply.text)
        return {
            "plan": plan,
            "turns": state["turns"] + 1,
            "repairs": state["repairs"] + repaired,
            "steps": [*state["steps"], step],
            "usage": added(state, reply.usage),
        }

    async def after_plan(self, state: State) -> str:
        return END if state["plan"]["action"] == "Finish" else "retrieve"

    async def retrieve(self, state: State) -> State:
        """Paths around the last proven answers (at first the topic). KD-CoT queries its retriever with question and
        sub-question together (section 3.2); a small model has no sub-question of its own."""
        context = self.context
        query = f"{state['question']} {state['plan']['input']}"
        if context.settings.reader == "complete":
            query = state["question"]
        options = await context.retrieval.options(query, anchors(state), topics=not state["rounds"])
        options = await context.retrieval.constrain(state["plan"]["input"], anchors(state), options)
        return {"options": [option for option in options if option.label not in state["refused"]]}

    async def read(self, state: State) -> State:
        """The model votes for executed paths, or for none; ranking, votes and agreement decide together."""
        options: list[Option] = state["options"]
        if not options:
            return {"choice": None}
        ask = self.complete if self.context.settings.reader == "complete" else self.choose
        votes, step, usage = await ask(state, options)
        choice = None
        if votes or self.context.settings.reader == "complete":
            rank = 0 if state["rounds"] else state["sample"]
            small = self.context.settings.reader == "complete"
            memory = await self.context.memory.shares(state["id"], state["question"], anchors(state)) if small else {}
            union = UNION if small else 1
            choice, expected = decide(options, votes, self.context.settings.trust, memory, rank=rank, union=union)
            step = step.model_copy(update={"reward": round(expected, 4)})
        return {"choice": choice, "steps": [*state["steps"], step], "usage": added(state, usage)}

    async def complete(self, state: State, options: Sequence[Option]) -> Vote:
        """The paths with which the model goes on after the most similar proven questions: one, or several drawn at
        temperature 1, whose shares tell how sure it is (self-consistency, Wang et al., ICLR 2023)."""
        context, starts = self.context, anchors(state)
        question = state["question"]
        examples = await context.memory.examples(state["id"], question, starts)
        prompt = render("kd_cot/pattern", examples=examples, question=mask_topics(question, starts)) + " "
        reply = await context.model.complete(
            prompt,
            choices=[option.label for option in options],
            n=context.settings.votes,
            temperature=1.0 if context.settings.votes > 1 else context.settings.temperature,
            sample=state["sample"],
        )
        counted = "\n".join(f"{count} × {text}" for text, count in Counter(reply.texts).most_common())
        output = counted if context.settings.votes > 1 else reply.text
        step = Step(kind="read", messages=(Message(role="user", content=prompt),), output=output)
        return [vote for text in reply.texts if (vote := match_option(text, options))], step, reply.usage

    async def choose(self, state: State, options: Sequence[Option]) -> Vote:
        """The path that an instructed model names, having seen what each leads to; it may name none of them."""
        messages = chat_messages(
            render("kd_cot/read_system"),
            *reading_turns(state["question"]),
            render("kd_cot/read", question=state["plan"]["input"], topics=anchors(state), candidates=options),
        )
        reply = await self.context.model.chat(
            messages,
            max_tokens=READ_TOKENS,
            schema={"enum": [*(option.label for option in options), NONE]},
            temperature=self.context.settings.temperature,
            sample=state["sample"],
        )
        step = Step(kind="read", messages=tuple(messages), output=reply.text)
        vote = match_option(reply.text, options)
        return [vote] if vote else [], step, reply.usage

    async def verify(self, state: State) -> State:
        """A choice becomes an Answer only with evidence that leads from the anchors to all of it."""
        choice: list[Option] | None = state["choice"]
        starts = anchors(state)
        if choice is None:
            return {"refused": [*state["refused"], *(option.label for option in state["options"])]}
        steps = [prove(self.context.kb, starts, option) for option in choice]
        shown = [*state["steps"], *steps]
        refused = [o.label for o, step in zip(choice, steps, strict=True) if not (step.verdict and step.verdict.ok)]
        if refused:
            return {"refused": [*state["refused"], *refused], "steps": shown}
        plan = state["plan"]
        done = Round(
            thought=plan["thought"],
            action=plan["action"],
            input=plan["input"],
            answers=list(union_answers(choice)),
            proof=proof(choice, starts),
        )
        return {"rounds": [*state["rounds"], done], "refused": [], "steps": shown}

    async def after_verify(self, state: State) -> str:
        """A small model does not know when to stop: it has read paths for the whole question, so that its chain ends
        with the first that is proven (measured: going on cost 0.7 points of F1). A constraint stands at the end of a
        proof, so that it ends the chain too."""
        rounds = state["rounds"]
        whole = bool(rounds) and (
            self.context.settings.reader == "complete" or rounds[-1]["proof"]["constraint"] is not None
        )
        return "plan" if state["turns"] < self.context.settings.rounds and not whole else END


def chained(proofs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One proof of several rounds: joins stand in the first only, a constraint and `others` in the last."""
    if not proofs:
        return {"path": [], "joins": []}
    path = [step for proof in proofs for step in proof["path"]]
    return {**proofs[-1], "path": path, "joins": proofs[0]["joins"]}


def anchors(state: State) -> list[str]:
    """Where the next fact must start: at the last proven answers, at first at the topic."""
    return state["rounds"][-1]["answers"] if state["rounds"] else state["topics"]


def added(state: State, usage: Usage) -> dict[str, Any]:
    return (Usage.model_validate(state["usage"]) + usage).model_dump()


def plan_schema(actions: tuple[str, ...]) -> dict[str, Any]:
    text = {"type": "string", "maxLength": 160}
    return {
        "type": "object",
        "properties": {"thought": text, "action": {"enum": list(actions)}, "input": text},
        "required": ["thought", "action", "input"],
        "additionalProperties": False,
    }


def parse_plan(text: str, allowed: tuple[str, ...], question: str) -> tuple[dict[str, str], int]:
    """The plan in a reply, and 1 if it had to be repaired. KD-CoT's text form is understood as well as JSON; what
    cannot be read becomes the whole question, asked for a list."""
    fallback = {"thought": "", "action": "Multi_Answer_Question", "input": question}
    try:
        plan = json.loads(text)
    except ValueError:
        found = re.search(r"(Multi_Answer_Question|Question|Finish)\[([^\]\n]*)", text)
        plan = {"thought": text.split("\n")[0], "action": found[1], "input": found[2]} if found else None
    if not isinstance(plan, dict) or plan.get("action") not in allowed:
        return fallback, 1
    words = str(plan.get("input", "")).strip()
    if not words and plan["action"] != "Finish":
        return {**fallback, "thought": str(plan.get("thought", ""))}, 1
    return {"thought": str(plan.get("thought", "")).strip(), "action": plan["action"], "input": words}, 0


def nearest(question: str) -> dict[str, Any]:
    """The demonstration most like the question, by shared words (KD-CoT, section 3.3, uses sentence vectors)."""
    words = set(normalize(question).split())

    def likeness(demo: dict[str, Any]) -> float:
        others = set(normalize(demo["question"]).split())
        return len(words & others) / (len(words | others) or 1)

    return max(demonstrations("kd_cot/demonstrations"), key=likeness)


def demonstration_turns(question: str) -> list[str]:
    """The nearest worked example as chat turns, one exchange for each of its rounds."""
    demo = nearest(question)
    turns: list[str] = []
    for number, done in enumerate([*demo["rounds"], demo["finish"]]):
        turns.append(render("kd_cot/plan", question=demo["question"], rounds=demo["rounds"][:number]))
        turns.append(compact({key: done[key] for key in ("thought", "action", "input")}))
    return turns


def reading_turns(question: str) -> list[str]:
    """The nearest worked example of a reading."""
    demo = nearest(question)
    turns: list[str] = []
    for done in demo["rounds"][:1]:
        shown = {"question": done["input"], "topics": done["topics"], "candidates": done["candidates"]}
        turns += [render("kd_cot/read", **shown), compact(done["label"])]
    return turns


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
