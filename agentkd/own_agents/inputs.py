"""From an item's input to what an agent takes, and from what it returns to an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_type_hints

from agentkd.own_agents.find import is_runnable

MESSAGES = "messages"
ASKED = ("input", "question", "query", "task", "text", "prompt", "request", "objective", "topic")
ANSWERS = ("answer", "final_answer", "response", "output", "result", "final")
"""Fields of a graph's state that ask or answer, as examples of LangGraph name them."""


class Unfit(ValueError):
    """An input that an agent cannot take, or a result that holds no answer; with the remedy."""


def fit_input(agent: Any, asked: str | dict[str, Any]) -> Any:
    """What to call an agent with: an object as it is, a text in the field of the graph's state that asks.

    Raises Unfit where the state has several such fields, or none."""
    if not isinstance(asked, str) or not is_runnable(agent) or not (fields := list_fields(agent)):
        return asked
    if MESSAGES in fields:
        return {MESSAGES: [{"role": "user", "content": asked}]}
    able = [name for name in ASKED if name in fields] or list(fields)
    if len(able) != 1:
        raise Unfit(
            f"the graph takes {', '.join(able)}: give the items' input as an object with the fields that it needs"
        )
    return {able[0]: asked}


def list_fields(graph: Any) -> list[str]:
    """The fields of a graph's input; none where it takes something else than a state."""
    with suppress(NameError, TypeError, AttributeError):  # a name that only type checkers see; no StateGraph
        return list(get_type_hints(graph.builder.input_schema))
    schema = graph.get_input_jsonschema()
    return list(schema.get("properties", ()))


def read_answer(result: Any, field: str | None) -> str:
    """The answer in what an agent returned: a text, a message, a field of its state, else its last message.

    Raises Unfit where there is none, or where several fields might be it."""
    if hasattr(result, "model_dump") and not hasattr(result, "content"):
        result = result.model_dump()
    if not isinstance(result, Mapping):
        return write_text(result)
    if "__interrupt__" in result:
        raise Unfit("the graph stopped at an interrupt, which waits for a person")
    if field is not None:
        if field not in result:
            raise Unfit(f"the result has no {field!r}: answer_field= may be {', '.join(map(str, result))}")
        return write_text(result[field])
    able = [name for name in ANSWERS if result.get(name) is not None]
    if len(able) > 1:
        raise Unfit(f"the result has {' and '.join(able)}: say which is the answer with answer_field={able[0]}")
    if able:
        return write_text(result[able[0]])
    if result.get("structured_response") is not None:
        return write_text(result["structured_response"])
    if result.get(MESSAGES):
        return write_text(result[MESSAGES][-1])
    names = ", ".join(map(str, result)) or "nothing"
    raise Unfit(f"the result holds no answer ({names}): name its field with answer_field=NAME")


def write_text(value: Any) -> str:
    """A value as a text: that of a message, else its JSON."""
    if value is None:
        return ""
    content = value.get("content") if isinstance(value, dict) and "role" in value else getattr(value, "content", value)
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content and all(isinstance(part, str | dict) for part in content):
        texts = [part if isinstance(part, str) else part.get("text") for part in content]
        if any(isinstance(text, str) for text in texts):
            return "".join(text for text in texts if isinstance(text, str))
    if (dump := getattr(content, "model_dump", None)) is not None:
        content = dump(mode="json")
    return json.dumps(content, ensure_ascii=False, default=str)
