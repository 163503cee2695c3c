"""The floor: aiohttp with a fixed number of workers, without retries, cache, accounting or checks."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp


async def ask(job: dict[str, Any]) -> int:
    prompts = iter(job["prompts"])
    answers = 0

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal answers
        for prompt in prompts:
            request = {"model": job["model"], "messages": [{"role": "user", "content": prompt}], "max_tokens": 64}
            async with session.post(f"{job['url']}/chat/completions", json=request) as response:
                answers += bool((await response.json())["choices"][0]["message"]["content"])

    connector = aiohttp.TCPConnector(limit=job["in_flight"])
    headers = {"Authorization": f"Bearer {job['key']}"} if "key" in job else None
    timeout = aiohttp.ClientTimeout(600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        await asyncio.gather(*(worker(session) for _ in range(job["in_flight"])))
    return answers


if __name__ == "__main__":
    print(json.dumps({"answers": asyncio.run(ask(json.load(sys.stdin))), "version": aiohttp.__version__}))
