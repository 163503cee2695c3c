"""The client of the OpenAI protocol: every call to a language model goes through here.

It keeps a cache on disk by content address (the same request is never paid for twice, also after `kill -9`),
retries what may succeed later, counts tokens, and stops at the run's token limit.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from agentkd.errors import UserError, WorldError
from agentkd.store import write_atomically
from agentkd.trace import Frozen, Message, Usage, content_hash

RETRIES = 4
FIRST_PAUSE = 0.5  # seconds, doubled at each retry, with jitter
PING_TIMEOUT = 10.0  # seconds for the first contact with a server that ought to be up
LOCAL_SLOTS = 4
COMPLETE_TOKENS = 96  # a relation path
NO_TEACHER = "none"


class Reply(Frozen):
    """A model's answer. `finish_reason` is the server's: `length` means that it was cut. `texts` holds all answers of
    a request that asked for several, `text` first."""

    texts: tuple[str, ...]
    finish_reason: str
    usage: Usage

    @property
    def text(self) -> str:
        return self.texts[0]


class Chat(Protocol):
    """What an agent needs of a model. `name` stands in traces and tables, `spec` is what the user typed."""

    name: str

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply: ...

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply: ...


class TokenLimit(WorldError):
    """The run has used the tokens that `--max-tokens` allows."""


class Cache:
    """Responses by content address, one small file each, written atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.folder / key[:2] / f"{key}.json").read_text())
        except (FileNotFoundError, ValueError):  # a damaged file is a miss: the answer is asked for again
            return None
        return value if isinstance(value, dict) else None

    def put(self, key: str, value: dict[str, Any]) -> None:
        path = self.folder / key[:2] / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(value, ensure_ascii=False))


class Teacher:
    """A model behind an OpenAI-compatible server.

    `identity` goes into the cache key in place of the address, whose port changes from run to run. `together` says that
    the server answers one prompt n times in one request (llama.cpp's embedded server miscounts then).
    `max_tokens` limits prompt and completion tokens of all calls together, cached ones excluded."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        identity: str,
        cache: Cache | None,
        timeout: float = 600.0,
        max_tokens: int | None = None,
        api_key: str | None = None,
        together: bool = True,
    ) -> None:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        self.url, self.model, self.name = url, model, identity
        self.cache, self.max_tokens, self.together = cache, max_tokens, together
        self.spent = 0
        self.client = AsyncOpenAI(
            base_url=url,
            api_key=api_key or os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAioHttpClient(timeout=timeout),
        )

    async def check(self) -> None:
        """First contact: the server answers and serves the model. Raises WorldError with the remedy."""
        import openai

        try:
            models = await self.client.with_options(timeout=PING_TIMEOUT).models.list()
        except openai.AuthenticationError:
            raise UserError(f"{self.url} refuses the key: set OPENAI_API_KEY") from None
        except openai.APIStatusError as error:
            raise WorldError(f"{self.url} answers {error.status_code} to /models: is it an OpenAI-compatible server "
                             f"(the URL usually ends in /v1)?") from None  # fmt: skip
        except openai.OpenAIError as error:
            raise WorldError(
                f"no server at {self.url} ({reason(error)}): start it, or use --teacher local or vllm:MODEL"
            ) from None
        served = [model.id for model in models.data]
        if served and self.model not in served:
            raise UserError(f"{self.url} does not serve '{self.model}': it serves {', '.join(served[:8])}")

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply:
        """One completion. With `schema` the answer is constrained to that JSON schema where the server can.

        Raises WorldError (with `retry`) when the server does not answer, TokenLimit at the run's limit."""
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [message.model_dump() for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": sample,
        }
        if schema is not None:
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": schema, "strict": True},
            }
        return await self._ask(request, self.client.chat.completions.create, lambda choice: choice.message.content)

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        """Go on with a text (no chat template) in one of the given ways, n times; `texts` are the chosen ones.

        For small models, which follow a pattern in plain text better than an instruction. The text goes on with a
        JSON string, because that is the constraint that vLLM and llama.cpp share. Where a server cannot constrain,
        the longest choice that the reply begins with counts, else the reply is empty."""
        if n > 1 and not self.together:
            seeds = range(sample * n, sample * n + n)
            one_by_one = (self.complete(prompt, choices=choices, temperature=temperature, sample=k) for k in seeds)
            replies = await asyncio.gather(*one_by_one)
            usage = Usage.total(reply.usage for reply in replies)
            return replies[0].model_copy(update={"texts": tuple(reply.text for reply in replies), "usage": usage})
        schema = {"enum": list(choices)}
        request: dict[str, Any] = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": COMPLETE_TOKENS,
            "temperature": temperature,
            "seed": sample,
            "n": n,
            "extra_body": {
                "response_format": {"type": "json_schema", "json_schema": {"name": "choice", "schema": schema}},  # vLLM
                "json_schema": schema,  # llama.cpp
            },
        }
        reply = await self._ask(request, self.client.completions.create, lambda choice: choice.text)
        return reply.model_copy(update={"texts": tuple(chosen(text, choices) for text in reply.texts)})

    async def _ask(
        self, request: dict[str, Any], create: Callable[..., Awaitable[Any]], text: Callable[[Any], str | None]
    ) -> Reply:
        """The answer to a request, from the cache or from the server, counted."""
        key = content_hash({**request, "model": self.name, "sample": request["seed"]})
        if self.cache is not None and (hit := self.cache.get(key)) and hit.get("texts"):
            usage = Usage.model_validate({**hit["usage"], "cached": 1, "seconds": 0.0})
            return Reply(texts=hit["texts"], finish_reason=hit["finish_reason"], usage=usage)
        if self.max_tokens is not None and self.spent >= self.max_tokens:
            raise TokenLimit(f"{self.spent} tokens used, --max-tokens is {self.max_tokens}: raise it to go on")
        start = time.monotonic()
        response = await self._send(request, create)
        choices = response.choices
        counts = response.usage
        usage = Usage(
            calls=1,
            prompt_tokens=counts.prompt_tokens if counts else 0,
            completion_tokens=counts.completion_tokens if counts else 0,
            seconds=round(time.monotonic() - start, 4),
        )
        self.spent += usage.tokens
        texts = tuple(text(choice) or "" for choice in choices)
        reply = Reply(texts=texts, finish_reason=choices[0].finish_reason or "", usage=usage)
        if self.cache is not None:
            self.cache.put(key, reply.model_dump(mode="json"))
        return reply

    async def _send(self, request: dict[str, Any], create: Callable[..., Awaitable[Any]]) -> Any:
        import openai

        pause = FIRST_PAUSE
        last: Exception = ValueError("no attempt")
        for attempt in range(RETRIES + 1):
            try:
                response = await create(**request)
                if getattr(response, "choices", None):
                    return response
                last, wait = ValueError("the answer is no chat completion"), 0.0
            except openai.APIStatusError as error:
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    raise WorldError(
                        f"{self.url} refused the request ({error.status_code}): {reason(error)}", retry=False
                    ) from None
                last = error
                asked = error.response.headers.get("retry-after", "")
                wait = float(asked) if asked.replace(".", "", 1).isdigit() else 0.0
            except (openai.OpenAIError, ValueError) as error:  # refused, reset, timed out, an answer that is no JSON
                last, wait = error, 0.0
            if attempt < RETRIES:
                await asyncio.sleep(max(wait, pause * random.uniform(0.5, 1.5)))
                pause *= 2
        raise WorldError(f"{self.url} failed {RETRIES + 1} times, last: {reason(last)}; is the server still up?")

    async def close(self) -> None:
        await self.client.close()


def chosen(text: str, choices: Sequence[str]) -> str:
    """The choice that a text begins with, as a JSON string or bare; the longest of several, empty for none."""
    try:
        found = json.JSONDecoder().raw_decode(text.strip())[0]
    except ValueError:
        found = text.strip().strip('"')
    return max((choice for choice in choices if str(found).startswith(choice)), key=len, default="")


def reason(error: Exception) -> str:
    """The innermost cause of an error, on one line."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


Progress = Callable[[str], None]
WAIT_LINES = 15  # seconds between two lines while a server starts


def waiting(say: Progress) -> Callable[[float, str], None]:
    """Tell the user every WAIT_LINES seconds that a server is still starting, and what it said last."""
    told = 0

    def on_wait(seconds: float, last_line: str) -> None:
        nonlocal told
        if seconds >= (told + 1) * WAIT_LINES:
            told = int(seconds // WAIT_LINES)
            say(f"still starting after {seconds:.0f} s: {last_line[:100]}")

    return on_wait


class NoTeacher:
    """Stands where a model would, for agents that ask none."""

    name = NO_TEACHER

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply:
        raise UserError("this agent asks a model: give --teacher (local, vllm:MODEL, openai:MODEL or URL#MODEL)")

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        return await self.chat([], max_tokens=0)


@asynccontextmanager
async def open_teacher(
    spec: str,
    *,
    run: Path,
    timeout: float = 600.0,
    max_tokens: int | None = None,
    vllm_args: Sequence[str] = (),
    slots: int = LOCAL_SLOTS,
    say: Progress = lambda line: None,
) -> AsyncIterator[Chat]:
    """Open the teacher that `--teacher` names: `local[:FILE.gguf]`, `vllm:MODEL`, `openai:MODEL`, `URL#MODEL`, `none`.

    A server that agentkd starts lives as long as the context, its log stands in `run`/logs. Responses are cached in
    `run`/cache. Raises UserError for a spec that names none of these."""
    from agentkd.models import PACKAGED, find_gguf
    from agentkd.serving import llama_server, vllm_server

    if spec == NO_TEACHER:
        yield NoTeacher()
        return
    cache = Cache(run / "cache")
    kind, _, rest = spec.partition(":")
    options: dict[str, Any] = {"cache": cache, "timeout": timeout, "max_tokens": max_tokens}
    if kind in ("http", "https"):
        url, _, model = spec.partition("#")
        if not model:
            raise UserError(f"--teacher {spec} names no model: write URL#MODEL, for example {url}#my-model")
        teacher = Teacher(url, model, identity=model, **options)
        server = None
    elif kind == "openai":
        url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        teacher, server = Teacher(url, rest, identity=spec, **options), None
    elif kind == "local":
        logs = run / "logs" / "llama.log"
        server = llama_server(find_gguf(rest or PACKAGED), slots=slots, context=4096, log=logs, on_wait=waiting(say))
        options["together"] = False
    elif kind == "vllm" and rest:
        server = vllm_server(rest, args=vllm_args, log=run / "logs" / "vllm.log", on_wait=waiting(say))
    else:
        raise UserError(f"unknown teacher '{spec}': use local, vllm:MODEL, openai:MODEL or URL#MODEL")
    if server is None:
        try:
            await teacher.check()
            yield teacher
        finally:
            await teacher.close()
        return
    say(f"starting {spec} (log: {server.log})")
    async with server:
        teacher = Teacher(server.url, server.model, identity=spec, **options)
        try:
            yield teacher
        finally:
            await teacher.close()
