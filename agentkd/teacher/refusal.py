"""Reads what a server's refusal is about.

- `server`: the key, the account, the model or the address. No other request would fare better, so a run stops.
- `field`: a field of the request that the server does not take. It is left out, and the request sent again.
- `request`: this request alone, such as a prompt that is too long. It is final for its sample.
- `passing`: it may be answered later, unchanged.
- `unknown`: the words tell nothing. The sample fails, and is tried again by the next run.

Statuses alone do not tell: providers answer 400 to a wrong key and 403 to a prompt that they find improper. So the
status counts where it is clear, else the words and codes of the error do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from agentkd.credentials import mask_secrets
from agentkd.teacher.chat import replace_surrogates

Cause = Literal["server", "field", "request", "passing", "unknown"]

PASSING = (408, 409, 425, 429, 499)
SERVER = (401, 402, 403, 404, 405, 407, 410, 421, 426)
TOO_LARGE = (413, 414, 431)
SYSTEM = "system"  # in place of a field: messages of this role
SCHEMA = ("response_format", "json_schema")

_DEPTH = 6  # of the error's content that is read

_FUNDS = re.compile(
    r"insufficient[ _-]*(quota|balance|credit|fund)|not enough (credit|balance|fund)|credit balance|out of credit",
    re.IGNORECASE,
)
_BILL = re.compile(r"billing|payment|top.?up|arrear|overdue", re.IGNORECASE)  # rate limits speak of it, too
_KEY = re.compile(
    r"api.?key|authenticat|unauthori[sz]ed|permission.?denied|access.?denied|account (is |has been )?"
    r"(deactivated|suspended|disabled|blocked)|(region|country|location).{0,30}not supported",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model_not_found|(unknown|invalid|no such|missing) model|not a valid model"
    r"|model\b.{0,80}?(not found|not exist|not available|not supported|decommissioned|no longer|deprecated|not loaded)",
    re.IGNORECASE | re.DOTALL,
)
_LOADING = re.compile(
    r"\b(is|are|being|still) (being )?load(ed|ing)|warming up|starting up|try again|temporar|overloaded", re.IGNORECASE
)
_LONG = re.compile(
    r"context.{0,3}(length|window|size)|maximum context|too many (input )?tokens|string_above_max_length"
    r"|(?<!took )(?<!taking )too long|(prompt|input|request|message|body|content).{0,30}too large"
    r"|reduce the (length|size|prompt)",
    re.IGNORECASE,
)
_MODERATION = re.compile(
    r"moderat|flagged|content.?(filter|polic|management)|safety (system|filter|polic|reason)|usage polic|invalid_prompt"
    r"|polic(y|ies) violation|data_inspection|sensitive (content|information|word)|inappropriate|harmful",
    re.IGNORECASE,
)
_NOT_TAKEN = re.compile(
    r"support|recogni[sz]ed|unknown|unexpected|extra|permit|allow|accept|implement|enabled|invalid|available|deprecat"
    r"|must|only|cannot|forbidden|disabled|no such|should",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(r"too (large|big|high|many|long)|at most|less than|maximum|exceed|out of range", re.IGNORECASE)
_NAMES = {
    SYSTEM: r"system.{0,3}(role|message|prompt|instruction)|role.{0,6}system|developer instruction|roles must alterna",
    "n": r"['\"`]n['\"`]|\bn (must|should|has|is|>|=)|(argument|parameter|field|supplied|property):? ?n\b|\bn ?> ?1\b",
    "stop": r"['\"`]stop['\"`]|(argument|parameter|field|supplied|property):? ?stop\b|stop sequence",
    "response_format": r"response.?format|json.?schema|structured output|guided|grammar",
}


@dataclass(frozen=True)
class Refusal:
    """What a refusal is about. `field` names a field of the request, or `system`."""

    cause: Cause
    field: str = ""


def read_refusal(status: int, content: Any, fields: Collection[str] = ()) -> Refusal:
    """Read a refusal: its status and its content, parsed or as a text. `fields` are those that the request has, and
    `system` where it has a message of that role."""
    parts = [*_find_parts(content)]
    said = " ".join(text for label, text in parts if label != "place")
    page = isinstance(content, str) and status >= 500  # of a gateway, which may say anything
    if status in (401, 402) or (not page and _FUNDS.search(said)) or (status < 429 and _BILL.search(said)):
        return Refusal("server")
    if status in TOO_LARGE or (_LONG.search(said) and status in (400, 422)):
        return Refusal("request")
    if _MODERATION.search(said) and status in (400, 403, 422, 451):
        return Refusal("request")
    if status in PASSING or _LOADING.search(said):
        return Refusal("passing")
    if field := _find_field(status, parts, fields):
        return Refusal("field", field)
    if status >= 500:
        return Refusal("passing")
    if status < 400 or status in SERVER or _KEY.search(said) or _MODEL.search(said):
        return Refusal("server")
    return Refusal("unknown")


def describe_error(content: Any) -> str:
    """The message in the content of an error response, on one line, with the place that it names."""
    said = [text for label, text in _find_parts(content) if label == "message"]
    places = [text for label, text in _find_parts(content) if label == "place"]
    text = "; ".join(dict.fromkeys(said)) or _as_text(content)
    text += "".join(f" ({place})" for place in places if place not in text)
    return mask_secrets(" ".join(replace_surrogates(text[:2000]).split()))[:200] or "no message"


def _as_text(content: Any) -> str:
    try:
        return str(content)
    except RecursionError:
        return ""


def _find_parts(content: Any, label: str = "message", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the texts of an error and what each is: a `message`, a `code`, or the `place` of a field.

    Providers nest them in various ways. What the request held (FastAPI's `input`) is left out."""
    if depth > _DEPTH:
        return
    if isinstance(content, str):
        if content.strip():
            yield label, content[:2000]
    elif isinstance(content, list):
        if label == "place":
            yield label, ".".join(str(part)[:80] for part in content[:5])
            return
        for part in content[:5]:
            yield from _find_parts(part, label, depth + 1)
    elif isinstance(content, dict):
        for names, kind in (
            (("error", "errors", "message", "msg", "detail", "details", "reason", "raw", "metadata"), "message"),
            (("code", "type", "status"), "code"),
            (("param", "loc"), "place"),
        ):
            for name in names:
                yield from _find_parts(content.get(name), kind, depth + 1)


def _find_field(status: int, parts: Collection[tuple[str, str]], fields: Collection[str]) -> str:
    """The field of the request that an error names as not taken; empty where there is none."""
    said = " ".join(text for label, text in parts if label != "place")
    if status not in (400, 404, 415, 422, 500, 501) or not _NOT_TAKEN.search(said):
        return ""
    if status >= 500:  # llama.cpp's for a chat template that refuses
        fields = [name for name in fields if name in (SYSTEM, *SCHEMA)]
    if _TOO_MUCH.search(said):  # a bound that is wrong for this server is no field that it does not know
        fields = [name for name in fields if not name.startswith("max_")]
    for place in (text.removeprefix("body.") for label, text in parts if label == "place"):
        if place.startswith("messages") and place.endswith("role") and SYSTEM in fields:
            return SYSTEM
        if (name := place.partition(".")[0]) in fields:
            return name
    named = [name for name in fields if re.search(_pattern(name), said, re.IGNORECASE)]
    if named == [*SCHEMA] and "response_format" not in said:
        return "json_schema"  # llama.cpp's own name for it goes first
    return named[0] if named else ""


def _pattern(name: str) -> str:
    """A pattern of the words with which errors name a field."""
    return _NAMES.get(name, rf"(?<![\w.]){re.escape(name)}(?!\w)")
