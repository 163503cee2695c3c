"""KD-CoT: chain of thought whose every sub-answer comes from a knowledge base (arXiv 2308.13259).

A LangGraph of five nodes. After a survey of the whole question the model plans in KD-CoT's form: Thought, Action,
Answer, with the actions Question, Multi_Answer_Question and Finish, in at most four rounds (section 3.1). The KB is
asked around the last proven answers, the model reads (it chooses among executed relation paths), and a choice must be
proven before it becomes an Answer:

    survey ─► plan ─► retrieve ─► read ─► verify ─┐
               ▲ └► finish                        │
               └──────────────────────────────────┘

Two differences from the paper. The reader is the model itself with a closed set of choices instead of FiD, because a
choice among executed paths carries its own evidence. And Finish hands over the full answer set of the last proven
round; the paper keeps the model's text, which stays on record here as the model's guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from langgraph.graph import END, START, StateGraph

from agentkd.agents.base import AgentContext, chat_messages
from agentkd.agents.option import Option, make_proof, match_option, prove, union_answers
from agentkd.agents.planning import ACTIONS, compact_json, parse_plan, plan_schema, plan_turns, reading_turns
from agentkd.agents.reading import UNION, choose_options
from agentkd.agents.survey import survey_step
from agentkd.prompts import render
from agentkd.proof import Proof
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.teacher.chat import NO_TEACHER
from agentkd.trace import Draft, Message, Step, Usage

if TYPE_CHECKING:
    from agentkd.tasks.question import Question

PLAN_TOKENS = 128
READ_TOKENS = 96
NONE = "none of these"

Vote = tuple[list[Option], Step, Usage]
"""The options that the model voted for, the step on record, and the cost."""


class Round(TypedDict):
    """One accepted round; `proof` leads from the round's anchors to its answers."""

    thought: str
    action: str
    input: str
    answers: list[str]
    proof: Proof


class State(TypedDict, total=False):
    """The state that nodes pass on. It lives in memory only: cache and store resume a run."""

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
    """The agent that solves a question round by round. Runs are resumed through the response cache."""

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
            provenance=chain_proofs([done["proof"] for done in rounds], end["topics"], end["repairs"]).record(),
        )

    async def survey(self, state: State) -> State:
        """Record the options for the whole question; a student learns from the record."""
        retrieval = self.context.retrieval
        options = await retrieval.options(state["question"], state["topics"], topics=True)
        options = await retrieval.constrain(state["question"], state["topics"], options)
        return {"steps": [survey_step(options, state["topics"])]}

    async def plan(self, state: State) -> State:
        """Ask the model for thought and action. Finish is a choice only after something is proven.

        A small model, whose reader completes a pattern, is not asked: its first action can only be to ask the whole
        question, and its thoughts do not help (docs/log.md)."""
        if self.context.settings.reader == "complete":
            plan = {"thought": "", "action": ACTIONS[1], "input": state["question"]}
            return {
                "plan": plan,
                "turns": state["turns"] + 1,
                "steps": [*state["steps"], Step(kind="plan", output=compact_json(plan))],
            }
        allowed = ACTIONS if state["rounds"] else ACTIONS[:2]
        messages = chat_messages(
            render("kd_cot/system"),
            *plan_turns(state["question"]),
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
            "usage": add_usage(state, reply.usage),
        }

    async def after_plan(self, state: State) -> str:
        return END if state["plan"]["action"] == "Finish" else "retrieve"

    async def retrieve(self, state: State) -> State:
        """Search paths around the last proven answers, at first around the topics.

        The query is question and sub-question together (section 3.2); a small model has no sub-question of its own."""
        retrieval = self.context.retrieval
        query = f"{state['question']} {state['plan']['input']}"
        if self.context.settings.reader == "complete":
            query = state["question"]
        options = await retrieval.options(query, find_anchors(state), topics=not state["rounds"])
        options = await retrieval.constrain(state["plan"]["input"], find_anchors(state), options)
        return {"options": [option for option in options if option.label not in state["refused"]]}

    async def read(self, state: State) -> State:
        """Let the model vote for executed paths, or for none; ranking, votes and agreement decide together."""
        options: list[Option] = state["options"]
        if not options:
            return {"choice": None}
        small = self.context.settings.reader == "complete"
        votes, step, usage = await (self.complete if small else self.choose)(state, options)
        choice = None
        if votes or small:
            rank = 0 if state["rounds"] else state["sample"]
            trust, union = self.context.settings.trust, UNION if small else 1
            memory: dict[str, float] = {}
            if small:  # its votes repeat the examples that it is shown: both count as far as these are near
                recall = await self.context.memory.recall(state["id"], state["question"], find_anchors(state))
                memory = {label: share * recall.nearness for label, share in recall.shares.items()}
                trust *= recall.nearness
            choice, expected = choose_options(options, votes, trust, memory, rank=rank, union=union)
            step = step.model_copy(update={"reward": round(expected, 4)})
        return {"choice": choice, "steps": [*state["steps"], step], "usage": add_usage(state, usage)}

    async def complete(self, state: State, options: Sequence[Option]) -> Vote:
        """Let the model continue a pattern of similar proven questions with a path.

        Several paths are drawn at temperature 1, and their shares tell how sure the model is (self-consistency, Wang
        et al., ICLR 2023)."""
        context, settings, starts = self.context, self.context.settings, find_anchors(state)
        question = state["question"]
        if context.model.name == NO_TEACHER:
            return [], Step(kind="read"), Usage()
        examples = await context.memory.examples(state["id"], question, starts)
        prompt = render("kd_cot/pattern", examples=examples, question=mask_topics(question, starts)) + " "
        reply = await context.model.complete(
            prompt,
            choices=[option.label for option in options],
            n=settings.votes,
            temperature=1.0 if settings.votes > 1 else settings.temperature,
            sample=state["sample"],
        )
        counted = "\n".join(f"{count} × {text}" for text, count in Counter(reply.texts).most_common())
        output = counted if settings.votes > 1 else reply.text
        step = Step(kind="read", messages=(Message(role="user", content=prompt),), output=output)
        return [vote for text in reply.texts if (vote := match_option(text, options))], step, reply.usage

    async def choose(self, state: State, options: Sequence[Option]) -> Vote:
        """Ask an instructed model for a path, showing where each leads; it may name none of them."""
        messages = chat_messages(
            render("kd_cot/read_system"),
            *reading_turns(state["question"]),
            render("kd_cot/read", question=state["plan"]["input"], topics=find_anchors(state), candidates=options),
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
        """Accept a choice as Answer only with evidence that leads from the anchors to all of it."""
        choice: list[Option] | None = state["choice"]
        starts = find_anchors(state)
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
            proof=make_proof(choice, starts),
        )
        return {"rounds": [*state["rounds"], done], "refused": [], "steps": shown}

    async def after_verify(self, state: State) -> str:
        """Plan again, or end.

        A small model reads paths for the whole question and does not know when to stop, so its chain ends with the
        first that is proven. A constraint ends a proof, so it ends the chain too."""
        settings, rounds = self.context.settings, state["rounds"]
        whole = bool(rounds) and (settings.reader == "complete" or rounds[-1]["proof"].constraint is not None)
        return "plan" if state["turns"] < settings.rounds and not whole else END


def chain_proofs(proofs: Sequence[Proof], topics: Sequence[str], repairs: int) -> Proof:
    """Join the proofs of all rounds.

    Only the first may have joins, only the last a constraint and `others`."""
    shared = {"topics": tuple(topics), "rounds": len(proofs), "repairs": repairs}
    if not proofs:
        return Proof.model_validate({"path": (), "joins": (), **shared})
    path = tuple(step for proof in proofs for step in proof.path or ())
    return proofs[-1].model_copy(update={"path": path, "joins": proofs[0].joins, **shared})


def find_anchors(state: State) -> list[str]:
    """The entities where the next fact must start: the last proven answers, at first the topics."""
    return state["rounds"][-1]["answers"] if state["rounds"] else state["topics"]


def add_usage(state: State, usage: Usage) -> dict[str, Any]:
    """The state's usage with one more call's."""
    return (Usage.model_validate(state["usage"]) + usage).model_dump()
