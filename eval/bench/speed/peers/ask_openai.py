"""The OpenAI SDK as its manual shows it: one AsyncOpenAI, a fixed number of workers, its own retries."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai


async def ask(job: dict[str, Any]) -> int:
    prompts = iter(job["prompts"])
    answers = 0

    async def worker(client: openai.AsyncOpenAI) -> None:
        nonlocal answers
        for prompt in prompts:
            reply = await client.chat.completions.create(
                model=job["model"], messages=[{"role": "user", "content": prompt}], max_tokens=64
            )
            answers += bool(reply.choices[0].message.content)

    async with openai.AsyncOpenAI(base_url=job["url"], api_key="none") as client:
        await asyncio.gather(*(worker(client) for _ in range(job["in_flight"])))
    return answers


if __name__ == "__main__":
    print(json.dumps({"answers": asyncio.run(ask(json.load(sys.stdin))), "version": openai.__version__}))
