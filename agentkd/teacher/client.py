"""The client of the OpenAI protocol: every call to a served language model goes through `Teacher`.

It writes requests in the form that the model and its server accept; `paid_requests.py` gets each one answered once.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agentkd.errors import ServerRefused
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import COMPLETE_TOKENS, Reply
from agentkd.teacher.contact import check
from agentkd.teacher.options import DEFAULTS, Endpoint, TeacherOptions
from agentkd.teacher.paid_requests import PaidRequests, Wire
from agentkd.teacher.refusal import SCHEMA
from agentkd.teacher.reply import load_json, match_choice, read_string, strip_fence
from agentkd.teacher.transport import Refused, Transport
from agentkd.trace import Message, Usage

CHAT, COMPLETIONS = "/chat/completions", "/completions"

REASONING = re.compile(r"openai:(?:o\d|gpt-5)")
"""OpenAI's models that think before they answer: they refuse `max_tokens` and `temperature`."""
THOUGHT_TOKENS = 4096  # room for thoughts besides the answer; they count as completion

NOT_RELAYED = {"model", "n", "seed", "stream", "stream_options", "max_tokens", "max_completion_tokens", "user", "store"}
NOT_RELAYED |= {"metadata"}
"""Fields of another program's request that are ours to say, or are about its account at a provider."""

UNCONSTRAINED = (400, 415, 422)
"""Statuses with which servers refuse a JSON schema that they cannot enforce, also in words that do not name it."""
TOLD = "Answer with nothing but JSON that fits this JSON schema: "
"""The instruction in place of a schema, for servers that take none."""
SURE = 2  # refusals that name no schema, each with an answer without it, until the schema is left out for good


class Teacher:
    """A model behind an OpenAI-compatible server; several addresses of it share the load."""

    weighs = False

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache: Cache | None,
        options: TeacherOptions = DEFAULTS,
        wire: Wire | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.endpoint, self.say = endpoint, say
        self.name = endpoint.name
        wire = wire or Transport(endpoint.urls, insecure=options.insecure)
        self.requests = PaidRequests(endpoint, cache=cache, options=options, wire=wire, say=say)
        self.tally = Tally()
        self._thinks = False  # the model was seen to spend an answer's tokens on thoughts
        self._constrains: dict[str, bool] = {}  # by kind of schema, once known
        self._doubts: Counter[str] = Counter()  # by kind: refusals in a row that did not name the schema
        self._together = endpoint.together

    @property
    def has_answered(self) -> bool:
        """Whether the server has answered anything since the run was opened."""
        return self.requests.wire.answered > 0

    async def check(self) -> list[str]:
        """First contact: a server answers and serves the model. Returns lines on what is odd.

        Raises UserError or WorldError with the remedy."""
        wire = self.requests.wire
        return await check(wire, self.endpoint.model) if isinstance(wire, Transport) else []

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply:
        """Complete a chat.

        With `schema` the answer is constrained to that JSON schema; where the server refuses to constrain, the schema
        is appended to the last message. `max_tokens` are for the answer: a model that has used them up with thoughts is
        asked once more with room for thoughts, and has that room from then on.

        Raises WorldError (with `retry`) when the server does not answer, TokenLimit or BudgetLimit at the run's limits,
        PutOff when the run is stopping."""

        def make_request(room: int) -> dict[str, Any]:
            return {
                "model": self.endpoint.model,
                "messages": [{"role": message.role, "content": message.content} for message in messages],
                **(
                    {"max_completion_tokens": max_tokens + THOUGHT_TOKENS + room}
                    if REASONING.match(self.name)
                    else {"max_tokens": max_tokens + room, "temperature": temperature}
                ),
                "seed": sample,
            }

        reply = await self._with_room(make_request, schema)
        self.tally.count(reply.text, readable=schema is None or fits(reply.text, schema))
        return reply

    async def relay(self, request: dict[str, Any], *, bound: int, seed: int) -> Reply:
        """Answer a chat request that another program wrote, with its tools and all its options.

        The model is this one, whatever it names. `seed` takes the place of its own. `bound` is the most tokens of an
        answer, where the request names none. Raises as `chat` does."""
        tokens = request.get("max_completion_tokens") or request.get("max_tokens") or bound
        own = {name: value for name, value in request.items() if name not in NOT_RELAYED}

        def make_request(room: int) -> dict[str, Any]:
            if not REASONING.match(self.name):
                return {"model": self.endpoint.model, **own, "max_tokens": tokens + room, "seed": seed}
            left = {name: value for name, value in own.items() if name != "temperature"}
            most = tokens + THOUGHT_TOKENS + room
            return {"model": self.endpoint.model, **left, "max_completion_tokens": most, "seed": seed}

        return await self._with_room(make_request, None)

    async def _with_room(self, make_request: Callable[[int], dict[str, Any]], schema: dict[str, Any] | None) -> Reply:
        """Ask with a request made for so many tokens more than an answer takes: none, or what thoughts take."""
        # the cache may hold an answer from before the model was seen to think: a resumed run does not pay for another
        room = THOUGHT_TOKENS if self._thinks and not self._is_cached(make_request(0), schema) else 0
        reply = await self._chat(make_request(room), schema)
        silent = not reply.text and not reply.tool_calls
        if not room and reply.finish_reason == "length" and (reply.reasoning or silent):
            if not self._thinks:
                self._thinks = True
                self.say(f"{self.name} thinks before it answers: it may write {THOUGHT_TOKENS} tokens more from now on")
            whole = await self._chat(make_request(THOUGHT_TOKENS), schema)
            reply = whole.model_copy(update={"usage": reply.usage + whole.usage})
        return reply

    async def _chat(self, request: dict[str, Any], schema: dict[str, Any] | None) -> Reply:
        if schema is None:
            return await self.requests.ask(CHAT, request)
        kind = str(schema.get("type", "choice"))  # OpenAI's own servers hold answers to objects alone
        reply = await self._constrained(CHAT, *schema_requests(request, schema), kind)
        # some servers only pretend to constrain
        return reply.model_copy(update={"texts": tuple(map(strip_fence, reply.texts))})

    def _is_cached(self, request: dict[str, Any], schema: dict[str, Any] | None) -> bool:
        forms = (request,) if schema is None else schema_requests(request, schema)
        return any(self.requests.is_cached(CHAT, form) for form in forms)

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        """Continue a text (no chat template) with one of the choices, n times; `texts` are the chosen ones.

        For small models, which follow a pattern in plain text better than an instruction. The text goes on with a
        JSON string, because that is the constraint that vLLM and llama.cpp share. Where a server cannot constrain, the
        longest choice that the reply begins with counts, else the reply is empty. Without choices the model writes
        what it likes, and `texts` are the strings it wrote. A server that does not take `n` is asked one by one."""
        if n == 1:
            return await self._complete(prompt, choices, 1, temperature, sample)
        usage = Usage()
        if self._together and not self._is_begun(prompt, choices, temperature, sample * n):
            try:
                reply = await self._complete(prompt, choices, n, temperature, sample)
            except Refused as error:
                if error.refusal.field != "n":
                    raise
            else:
                if len(reply.texts) >= n:
                    return reply.model_copy(update={"texts": reply.texts[:n]})
                usage = reply.usage
            if self._together:
                self._together = False
                self.say(f"{self.name}: the server gives one answer where {n} are asked for; it is asked {n} times")
        seeds = range(sample * n, sample * n + n)
        one_by_one = (self._complete(prompt, choices, 1, temperature, k) for k in seeds)
        replies = await asyncio.gather(*one_by_one)
        usage = Usage.total([usage, *(reply.usage for reply in replies)])
        return replies[0].model_copy(update={"texts": tuple(reply.text for reply in replies), "usage": usage})

    def _is_begun(self, prompt: str, choices: Sequence[str], temperature: float, seed: int) -> bool:
        """Whether a run that is resumed has asked one by one before."""
        held, loose = self._completion_requests(prompt, choices, 1, temperature, seed)
        return any(self.requests.is_cached(COMPLETIONS, form) for form in (held, loose))

    async def _complete(self, prompt: str, choices: Sequence[str], n: int, temperature: float, seed: int) -> Reply:
        held, loose = self._completion_requests(prompt, choices, n, temperature, seed)
        try:
            if choices:
                reply = await self._constrained(COMPLETIONS, held, loose, "completion")
            else:
                reply = await self.requests.ask(COMPLETIONS, loose)
        except ServerRefused as error:
            hint = f"; a server without {COMPLETIONS} is asked with reader=choose" * (error.status in (404, 405))
            raise ServerRefused(f"{error}{hint}", error.status) from None
        texts = tuple(match_choice(text, choices) if choices else read_string(text) for text in reply.texts)
        for text, read in zip(reply.texts, texts, strict=True):
            self.tally.count(text, readable=bool(read))
        return reply.model_copy(update={"texts": texts})

    def _completion_requests(
        self, prompt: str, choices: Sequence[str], n: int, temperature: float, seed: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The request for a completion that is constrained to the choices, and one that is not."""
        schema = {"enum": list(choices)}
        request: dict[str, Any] = {
            "model": self.endpoint.model,
            "prompt": prompt,
            "max_tokens": COMPLETE_TOKENS,
            "temperature": temperature,
            "seed": seed,
            "n": n,
        }
        held = request | {
            "response_format": {"type": "json_schema", "json_schema": {"name": "choice", "schema": schema}},
            "json_schema": schema,  # llama.cpp's name for it; vLLM reads the other
        }
        return held, request | {"stop": ["\n"]}

    async def _constrained(self, path: str, held: dict[str, Any], loose: dict[str, Any], kind: str) -> Reply:
        """Ask with the request `held`, which constrains the answer, or with `loose` where the server refuses that.

        A refusal that names the schema holds from then on for schemas of this kind. One that names nothing may pass:
        the request is asked again, then without the schema, which is left out for good after SURE such requests. An
        answer in the cache counts in either form, so a resumed run is not refused again."""
        holds = self._constrains.get(kind)
        if not holds:
            is_cached = self.requests.is_cached
            holds = is_cached(path, held) or (holds is None and not is_cached(path, loose))
        named = False
        for _ in range(2 if holds else 0):
            try:
                reply = await self.requests.ask(path, held)
            except Refused as error:
                named = error.refusal.field in SCHEMA
                if not named and not (error.refusal.cause == "unknown" and error.status in UNCONSTRAINED):
                    raise
                if named:
                    break
            else:
                self._constrains.setdefault(kind, True)
                self._doubts[kind] = 0
                return reply
        reply = await self.requests.ask(path, loose)  # refused for another reason, it raises that again
        if holds:
            self._doubts[kind] += SURE if named else 1
        if self._constrains.get(kind) is not False and self._doubts[kind] >= SURE:
            self._constrains[kind] = False
            self.say(f"{self.name}: the server takes no JSON schema ({kind}); from now on it is asked without one")
        return reply

    def stop(self) -> None:
        """Send nothing more: requests in flight may end, later ones raise PutOff."""
        self.requests.wire.stop()

    async def close(self) -> None:
        """Close connections and cache."""
        await self.requests.close()


@dataclass
class Tally:
    """Replies of a run, and those that said nothing or could not be read; `example` is one of the latter."""

    replies: int = 0
    empty: int = 0
    unreadable: int = 0
    example: str = ""

    def count(self, text: str, *, readable: bool) -> None:
        """Count one reply."""
        self.replies += 1
        if not text.strip():
            self.empty += 1
        elif not readable:
            self.unreadable += 1
            self.example = self.example or " ".join(text.split())[:80]

    def describe(self) -> str:
        """A line for the user; empty where all replies could be read."""
        if not self.empty + self.unreadable:
            return ""
        counts = [f"{self.empty} were empty"] * bool(self.empty)
        if self.unreadable:
            counts.append(f"{self.unreadable} not in the form that was asked for (such as '{self.example}')")
        return f"of {self.replies} replies {' and '.join(counts)}"


def fits(text: str, schema: dict[str, Any]) -> bool:
    """Whether a reply is JSON of the kind that a schema asks for: a choice of its enum, or an object with its fields.

    Agents read more than this."""
    if "enum" in schema:
        return bool(match_choice(text, [str(choice) for choice in schema["enum"]]))
    try:
        value = load_json(text)
    except ValueError:
        return False
    return not isinstance(value, dict) or all(name in value for name in schema.get("required", ()))


def schema_requests(request: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A chat request that is constrained to a schema, and one that states it in the last message instead.

    The statement holds no `<`, so that names in a schema cannot close a fence of the prompt."""
    shape = {"name": "reply", "schema": schema, "strict": True}
    held = request | {"response_format": {"type": "json_schema", "json_schema": shape}}
    *before, last = request["messages"]
    text = json.dumps(schema, ensure_ascii=False).replace("<", "\\u003c")
    return held, request | {"messages": [*before, last | {"content": f"{last['content']}\n\n{TOLD}{text}"}]}
