"""A scripted model that calls tools: a function of the request alone, for the examples in `tests/own_agents/`."""

from __future__ import annotations

import json
import re
from typing import Any

POPULATION = {"Austria": 9_200_000, "Chile": 19_600_000, "Fiji": 900_000, "Kenya": 55_100_000, "Nepal": 30_900_000}
CAPITAL = {"Austria": "Vienna", "Chile": "Santiago", "Fiji": "Suva", "Kenya": "Nairobi", "Nepal": "Kathmandu"}
COUNTRIES = tuple(POPULATION)


def call(place: int, name: str, text: str) -> dict[str, Any]:
    """A tool call; `text` is the arguments as the model writes them."""
    return {"id": f"call_{place}_{name}", "type": "function", "function": {"name": name, "arguments": text}}


def calls(*made: dict[str, Any]) -> dict[str, Any]:
    return {"content": None, "tool_calls": list(made)}


def scripted(request: dict[str, Any]) -> dict[str, Any]:
    """The message that answers a request."""
    messages = request["messages"]
    asked = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    told = [m["content"] for m in messages if m["role"] == "tool"]
    countries = [country for country in COUNTRIES if country in asked]
    offered = {tool["function"]["name"] for tool in request.get("tools", ())}
    if "response_format" in request:
        return {"content": json.dumps({"steps": [f"Find the capital of {country}" for country in countries]})}
    if "population" in offered:
        if len(told) < len(countries):  # odd blanks, which nobody may tidy
            return calls(call(len(told), "population", f'{{"country":  "{countries[len(told)]}"}}'))
        if len(told) == len(countries):
            return calls(call(len(told), "add", f'{{"a": {told[0]}, "b": {told[1]}}}'))
        return {"content": told[-1]}
    if "capital" in offered:
        return {"content": told[0]} if told else calls(call(0, "capital", f'{{ "country": "{countries[0]}" }}'))
    return {"content": " and ".join(re.findall(r"capital of \w+: (\w+)", asked))}
