"""The client of the OpenAI protocol: every call to a language model goes through here.

It keeps a cache on disk by content address (the same request is never paid for twice, also after `kill -9`), shares
one answer among equal requests, counts tokens and money, and stops before the run's limits. `transport.py` is the wire
below it, `cache.py` the disk, `budget.py` the limits.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from agentkd.errors import AgentkdError, PutOff
from agentkd.teacher.budget import Budget, Cost
from agentkd.teacher.cache import Cache
from agentkd.teacher.prices import Price
from agentkd.teacher.transport import Cut, Refused, Transport
from agentkd.trace import Frozen, Message, Usage

CHAT = "/chat/completions"
COMPLETE_TOKENS = 96  # a relation path
TOKEN_TIMEOUT = 0.05  # seconds; a server that writes fewer than 20 tokens a second to everyone is given up

REASONING = re.compile(r"openai:(?:o\d|gpt-5)")
"""OpenAI's models that think before they answer: they refuse `max_tokens` and `temperature`."""
THOUGHT_TOKENS = 4096  # what a model that thinks may think besides its answer; it counts as completion

UNCONSTRAINED = (400, 404, 415, 422)
"""Statuses with which servers refuse a JSON schema that they cannot hold an answer to; their words differ."""
TOLD = "Answer with nothing but JSON that fits this JSON schema: "  # what such a server's model reads instead
THOUGHTS = re.compile(r"\A\s*<think>(.*?)(?:</think>|\Z)|\A((?:(?!<think>).)*?)</think>", re.DOTALL)
FENCE = re.compile(r"^(```|~~~)[^\n]*\n(.*?)^\1", re.DOTALL | re.MULTILINE)

T = TypeVar("T")


class Reply(Frozen):
    """A model's answer. `finish_reason` is the server's; `length` means that it, or one of several, was cut at
    `max_tokens`. `texts` holds all answers of a request that asked for several, `text` first. `reasoning` is what the
    model thought before it answered, apart from it or in <think> at its head. `log_p` is the log-likelihood of each
    choice of `complete` in nats, where the model can tell."""

    texts: tuple[str, ...]
    finish_reason: str
    usage: Usage
    reasoning: str = ""
    log_p: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        return self.texts[0]


class Chat(Protocol):
    """What an agent needs of a model. `name` stands in traces and tables. A model that `weighs` gives the exact
    log-likelihood of each choice of `complete`; another draws from them."""

    name: str
    weighs: bool

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


class Wire(Protocol):
    """What carries requests: `Transport`, or a batch file (`batch.py`)."""

    def admit(self, key: str) -> None: ...

    async def post(self, path: str, data: bytes, *, key: str, seconds: float, read: Callable[[Any], T]) -> T: ...

    async def check(self, model: str) -> list[str]: ...

    def stop(self) -> None: ...

    async def close(self) -> None: ...


class Teacher:
    """A model behind an OpenAI-compatible server; several addresses of it share the load.

    `identity` goes into the cache key in place of the address, whose port changes from run to run. `together` says that
    the server answers one prompt n times in one request (llama.cpp's embedded server miscounts then). A request may
    take `timeout` seconds and `token_timeout` more for each token it asks for: streaming would tell a dead server from
    a slow one sooner, but costs both sides more than the answer itself where thousands of short ones fly.
    `max_tokens` and `max_usd` (by `price`) limit all calls together, those that the cache paid for before included,
    its hits excluded."""

    weighs = False

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        *,
        identity: str,
        cache: Cache | None,
        timeout: float = 600.0,
        token_timeout: float = TOKEN_TIMEOUT,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        price: Price | None = None,
        api_key: str | None = None,
        together: bool = True,
        wire: Wire | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.urls = (url,) if isinstance(url, str) else tuple(url)
        self.model, self.name = model, identity
        self.cache, self.together, self.price = cache, together, price
        self.timeout, self.token_timeout = timeout, token_timeout
        spent = Cost(cache.tokens, cache.usd) if cache is not None else Cost(0, 0.0)
        self.budget = Budget(max_tokens=max_tokens, max_usd=max_usd, spent=spent)
        self.wire: Wire = wire or Transport(self.urls, api_key=api_key)
        self.say = say
        self._flying: dict[str, asyncio.Future[Reply | AgentkdError | None]] = {}
        self._thinks = False  # it was seen to spend the room of an answer on thoughts
        self._holds: dict[str, bool] = {}  # by kind of schema: whether the server holds an answer to it, once known

    async def check(self) -> list[str]:
        """First contact: a server answers and serves the model. Returns the complaints of other addresses. Raises
        UserError or WorldError with the remedy."""
        return await self.wire.check(self.model)

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply:
        """One completion. With `schema` the answer is constrained to that JSON schema; where the server refuses to, the
        schema stands at the end of the last message. `max_tokens` are the answer's: a model whose thoughts have used
        them up is asked once more with room for thoughts, and given that room from then on.

        Raises WorldError (with `retry`) when the server does not answer, TokenLimit or BudgetLimit at the run's limits,
        PutOff when the run is stopping."""

        def request(room: int) -> dict[str, Any]:
            return {
                "model": self.model,
                "messages": [{"role": message.role, "content": message.content} for message in messages],
                **(
                    {"max_completion_tokens": max_tokens + THOUGHT_TOKENS + room}
                    if REASONING.match(self.name)
                    else {"max_tokens": max_tokens + room, "temperature": temperature}
                ),
                "seed": sample,
            }

        # an answer from before the model was seen to think is in the cache: a resumed run does not pay for another
        room = THOUGHT_TOKENS if self._thinks and not self._known_chat(request(0), schema) else 0
        reply = await self._chat(request(room), schema)
        if room or not (reply.finish_reason == "length" and reply.reasoning):
            return reply
        if not self._thinks:
            self._thinks = True
            self.say(f"{self.name} thinks before it answers: it may write {THOUGHT_TOKENS} tokens more from now on")
        whole = await self._chat(request(THOUGHT_TOKENS), schema)
        return whole.model_copy(update={"usage": reply.usage + whole.usage})

    async def _chat(self, request: dict[str, Any], schema: dict[str, Any] | None) -> Reply:
        messages = len(request["messages"])
        if schema is None:
            return await self._ask(CHAT, request, messages)
        kind = str(schema.get("type", "choice"))  # OpenAI's own servers hold answers to objects alone
        reply = await self._constrained(CHAT, *both(request, schema), kind, messages)
        return reply.model_copy(update={"texts": tuple(map(unfenced, reply.texts))})  # some only pretend to constrain

    def _known_chat(self, request: dict[str, Any], schema: dict[str, Any] | None) -> bool:
        forms = (request,) if schema is None else both(request, schema)
        return any(self._known(CHAT, form) for form in forms)

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        """Go on with a text (no chat template) in one of the given ways, n times; `texts` are the chosen ones.

        For small models, which follow a pattern in plain text better than an instruction. The text goes on with a
        JSON string, because that is the constraint that vLLM and llama.cpp share. Where a server cannot constrain,
        the longest choice that the reply begins with counts, else the reply is empty. Without choices the model writes
        what it likes, and `texts` are the strings it wrote."""
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
        }
        loose = request | {"stop": ["\n"]}
        if choices:
            held = request | {
                "response_format": {"type": "json_schema", "json_schema": {"name": "choice", "schema": schema}},
                "json_schema": schema,  # llama.cpp's name for it; vLLM reads the other
            }
            reply = await self._constrained("/completions", held, loose, "completion", 1)
        else:
            reply = await self._ask("/completions", loose, 1)
        texts = (chosen(text, choices) if choices else written(text) for text in reply.texts)
        return reply.model_copy(update={"texts": tuple(texts)})

    async def _constrained(
        self, path: str, held: dict[str, Any], loose: dict[str, Any], kind: str, messages: int
    ) -> Reply:
        """The answer to the request `held`, which constrains it; where the server refuses that, the answer to `loose`,
        then and from then on for schemas of this kind. An answer in the cache counts in either form, so a resumed run
        is not refused again."""
        holds = self._holds.get(kind)
        if not holds:
            holds = self._known(path, held) or (holds is None and not self._known(path, loose))
        if holds:
            try:
                reply = await self._ask(path, held, messages)
            except Refused as error:
                if error.status not in UNCONSTRAINED:
                    raise
            else:
                self._holds.setdefault(kind, True)
                return reply
        reply = await self._ask(path, loose, messages)  # refused for another reason, it says so once more
        if self._holds.get(kind) is not False:
            self._holds[kind] = False
            self.say(f"{self.name}: the server takes no JSON schema ({kind}); from now on it is asked without one")
        return reply

    def _known(self, path: str, request: dict[str, Any]) -> bool:
        return self.cache is not None and self._key(path, json.dumps(request).encode()) in self.cache

    def _key(self, path: str, data: bytes) -> str:
        return hashlib.sha256(f"{self.name}\n{path}\n".encode() + data).hexdigest()

    async def _ask(self, path: str, request: dict[str, Any], messages: int) -> Reply:
        """The answer to a request: from the cache, from an equal request that is in flight, or from the server."""
        data = json.dumps(request).encode()
        key = self._key(path, data)
        while True:
            if self.cache is not None and (hit := self.cache.get(key)) is not None:
                return as_cached(Reply.model_validate(hit))
            if (shared := self._flying.get(key)) is None:
                break
            outcome = await asyncio.shield(shared)
            if isinstance(outcome, AgentkdError):
                raise outcome
            if outcome is not None:  # None: the other was cancelled, and we ask ourselves
                return as_cached(outcome)
        mine = asyncio.get_running_loop().create_future()
        self._flying[key] = mine
        result: Reply | AgentkdError | None = None
        try:
            return (result := await self._pay(key, path, request, data, messages))
        except AgentkdError as error:
            result = error
            raise
        finally:
            del self._flying[key]
            mine.set_result(result)

    async def _pay(self, key: str, path: str, request: dict[str, Any], data: bytes, messages: int) -> Reply:
        """Send a request within the budget; its answer is on disk before anybody sees it."""
        cost = self.estimate(request, len(data), messages)
        seconds = self.timeout + self.token_timeout * longest(request)

        def read(content: Any) -> Reply:
            return read_reply(content, self.price, seconds=time.monotonic() - start)

        self.wire.admit(key)
        await self.budget.reserve(cost)
        start = time.monotonic()
        try:
            reply = await self.wire.post(path, data, key=key, seconds=seconds, read=read)
        except Waiting:
            self.budget.hold()
            raise
        except Cut:  # nobody has read what the server may bill: it counts as the most, on disk too
            self.budget.settle(cost, cost)
            if self.cache is not None:
                other = hashlib.sha256(f"cut {key}".encode()).hexdigest()  # the request itself is still to be answered
                self.cache.put(other, {"cut": key}, tokens=cost.tokens, usd=cost.usd)
            raise asyncio.CancelledError from None
        except BaseException:
            self.budget.settle(cost, Cost(0, 0.0))
            raise
        usage = reply.usage
        paid = Cost(usage.tokens, usage.usd) if usage.tokens else cost  # a server that counts nothing costs the most
        self.budget.settle(cost, paid)
        self.budget.learn(len(data), messages, usage.prompt_tokens)
        if self.cache is not None:
            self.cache.put(key, reply.model_dump(mode="json"), tokens=paid.tokens, usd=paid.usd)
        return reply

    def estimate(self, request: dict[str, Any], size: int, messages: int) -> Cost:
        """The most that a request of `size` bytes is thought to cost."""
        prompt = self.budget.prompt_tokens(size, messages)
        completion = longest(request) * request.get("n", 1)
        return Cost(prompt + completion, self.price.usd(prompt, completion) if self.price else 0.0)

    def stop(self) -> None:
        """Send nothing more: what is in flight may end, what would be sent raises PutOff."""
        self.wire.stop()

    async def close(self) -> None:
        await self.wire.close()
        if self.cache is not None:
            self.cache.close()


class Waiting(PutOff):
    """The answer comes with a batch; until then what it may cost stays reserved."""


def read_reply(content: Any, price: Price | None, *, seconds: float = 0.0) -> Reply:
    """The reply in a response's JSON, which took `seconds`. Raises ValueError, KeyError, TypeError or AttributeError
    for what is none."""
    choices = content["choices"]
    read = [split_thoughts(text_of(choice)) for choice in choices]
    reasons = [choice.get("finish_reason") or "" for choice in choices]
    if not read or "abort" in reasons or "error" in reasons:  # vLLM and routers say so when they gave up
        raise ValueError("no answer")
    message = choices[0].get("message") or {}
    counts = content.get("usage") or {}
    prompt, completion = int(counts.get("prompt_tokens") or 0), int(counts.get("completion_tokens") or 0)
    read_before = int((counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    return Reply(
        texts=tuple(text for _, text in read),
        finish_reason="length" if "length" in reasons else reasons[0],
        usage=Usage(
            calls=1,
            prompt_tokens=prompt,
            completion_tokens=completion,
            seconds=round(seconds, 4),
            usd=price.usd(prompt, completion, read_before) if price else 0.0,
        ),
        reasoning=message.get("reasoning_content") or message.get("reasoning") or read[0][0],
    )


def both(request: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A chat request that is constrained to a schema, and one that tells it instead. No `<` in what is told: names in a
    schema close no fence of a prompt."""
    shape = {"name": "reply", "schema": schema, "strict": True}
    held = request | {"response_format": {"type": "json_schema", "json_schema": shape}}
    *before, last = request["messages"]
    text = json.dumps(schema, ensure_ascii=False).replace("<", "\\u003c")
    return held, request | {"messages": [*before, last | {"content": f"{last['content']}\n\n{TOLD}{text}"}]}


def unfenced(text: str) -> str:
    """What stands in a text's code fence, where that is JSON; else the text."""
    found = FENCE.search(text)
    with suppress(ValueError):
        if found:
            json.loads(found[2])
            return found[2].strip()
    return text


def longest(request: dict[str, Any]) -> int:
    """How many tokens an answer may have."""
    return int(request.get("max_completion_tokens") or request["max_tokens"])


def as_cached(reply: Reply) -> Reply:
    """A reply that cost no call: its tokens and price are those of the first time."""
    return reply.model_copy(update={"usage": reply.usage.model_copy(update={"cached": 1, "seconds": 0.0})})


def text_of(choice: dict[str, Any]) -> str:
    """The text of a chat's or a completion's choice; a refusal to answer and a null are empty."""
    text = choice["message"].get("content") if "message" in choice else choice["text"]
    if text is not None and not isinstance(text, str):
        raise TypeError(f"text is a {type(text).__name__}")
    return text or ""


def split_thoughts(text: str) -> tuple[str, str]:
    """What a model thought, between <think> and </think> before its answer, and the answer: empty where it was cut
    while it thought. Some templates open <think> themselves, so that the text only closes it."""
    found = THOUGHTS.match(text) if "think>" in text else None
    if found is None:
        return "", text
    return (found[1] or found[2] or "").strip(), text[found.end() :].lstrip()


def written(text: str) -> str:
    """The JSON string that a text begins with, else its first line."""
    text = text.strip()
    with suppress(ValueError):
        return str(json.JSONDecoder().raw_decode(text)[0])
    return text.partition("\n")[0].strip('" ')


def chosen(text: str, choices: Sequence[str]) -> str:
    """The choice that a text begins with, as a JSON string or bare; the longest of several, empty for none. A JSON
    string that was cut may have been about to become a longer choice: then it is none."""
    text = text.strip()
    cut = False
    try:
        found = str(json.JSONDecoder().raw_decode(text)[0])
    except ValueError:
        cut = text.startswith('"')
        found = text.strip('"')
    if cut and any(choice.startswith(found) and choice != found for choice in choices):
        return ""
    return max((choice for choice in choices if found.startswith(choice)), key=len, default="")
