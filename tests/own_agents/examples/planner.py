"""A planner and an executor, after LangGraph's plan-and-execute tutorial. Nothing here knows of agentkd."""

import operator
from typing import Annotated, TypedDict

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import create_react_agent
from pydantic import BaseModel, Field

CAPITAL = {"Austria": "Vienna", "Chile": "Santiago", "Fiji": "Suva", "Kenya": "Nairobi", "Nepal": "Kathmandu"}


@tool
async def capital(country: str) -> str:
    """Look up the capital of a country."""
    return CAPITAL[country]


class Plan(BaseModel):
    """Steps to follow."""

    steps: list[str] = Field(description="different steps, in sorted order")


class PlanExecute(TypedDict):
    input: str
    plan: list[str]
    past_steps: Annotated[list[tuple[str, str]], operator.add]
    response: str


model = ChatOpenAI(model="gpt-4o")
planner = model.with_structured_output(Plan)
executor = create_react_agent(model, [capital])


async def plan_step(state: PlanExecute):
    plan = await planner.ainvoke(f"Make a plan for: {state['input']}")
    return {"plan": plan.steps}


async def execute_step(state: PlanExecute):
    task = state["plan"][len(state["past_steps"])]
    found = await executor.ainvoke({"messages": [("user", f"You are tasked with: {task}")]})
    return {"past_steps": [(task, found["messages"][-1].content)]}


def answer_step(state: PlanExecute):
    done = "\n".join(f"{task}: {result}" for task, result in state["past_steps"])
    said = model.invoke([("system", "Answer from what was found."), ("user", f"{state['input']}\n{done}")])
    return {"response": said.content}


def is_done(state: PlanExecute):
    return "answer" if len(state["past_steps"]) == len(state["plan"]) else "execute"


workflow = StateGraph(PlanExecute)
workflow.add_node("plan", plan_step)
workflow.add_node("execute", execute_step)
workflow.add_node("answer", answer_step)
workflow.add_edge(START, "plan")
workflow.add_edge("plan", "execute")
workflow.add_conditional_edges("execute", is_done)
workflow.add_edge("answer", END)
app = workflow.compile()
