"""agentkd's client as `generate` uses it: over the engine, with a fresh cache on disk unless `folder` is null."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agentkd import __version__
from agentkd.runs.engine import run_items
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import Reply
from agentkd.teacher.client import Teacher
from agentkd.teacher.options import Endpoint
from agentkd.trace import Message


async def ask(job: dict[str, Any]) -> int:
    cache = Cache(Path(job["folder"]) / "cache") if job["folder"] else None
    teacher = Teacher(Endpoint((job["url"],), job["model"]), cache=cache)

    async def one(prompt: str) -> Reply:
        return await teacher.chat([Message(role="user", content=prompt)], max_tokens=64)

    answers = 0
    try:
        async for _, reply in run_items(job["prompts"], one, job["in_flight"]):
            if isinstance(reply, Exception):
                raise reply
            answers += bool(reply.text)
    finally:
        await teacher.close()
    return answers


if __name__ == "__main__":
    print(json.dumps({"answers": asyncio.run(ask(json.load(sys.stdin))), "version": __version__}))
