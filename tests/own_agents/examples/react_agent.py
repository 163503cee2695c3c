"""A ReAct agent with two tools, written as LangGraph's users write one. Nothing here knows of agentkd."""

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.prebuilt import create_react_agent

POPULATION = {"Austria": 9_200_000, "Chile": 19_600_000, "Fiji": 900_000, "Kenya": 55_100_000, "Nepal": 30_900_000}


@tool
def population(country: str) -> int:
    """Look up how many people live in a country."""
    return POPULATION[country]


@tool
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


model = ChatOpenAI(model="gpt-4o-mini", temperature=0)
graph = create_react_agent(model, [population, add], prompt="Answer with a number. Use the tools.")
