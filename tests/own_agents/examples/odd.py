"""Agents that go wrong, each in its way, by what they are asked; and one that is right."""

import json
import os
import subprocess
import sys
import time
import urllib.request


def ask(text):
    """A model call without any framework."""
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps({"model": "any", "messages": [{"role": "user", "content": text}]}).encode(),
        {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]["content"]


async def agent(asked):
    if asked == "raise":
        raise KeyError("no such\nkey")
    if asked == "exit":
        sys.exit(3)
    if asked == "die":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        os._exit(7)
    if asked == "hang":
        time.sleep(600)  # not even its loop lives
    if asked == "nothing":
        return None
    if asked == "state":
        return {"a": 1, "b": 2}
    if asked == "seen":
        return json.dumps([asked, sorted(os.environ.items())])
    number = 0
    while asked == "loop":
        ask(f"again {number}")
        number += 1
    print("to the log:", asked)
    return ask(asked)


def plain(asked):
    return ask(asked)


def factory():
    async def made(asked):
        return ask(asked) + "!"

    return made


async def slow_factory():
    return factory()


def with_model(model):
    return model


text = "no agent"


def not_compiled():
    from langgraph.graph import StateGraph

    return StateGraph(dict)
