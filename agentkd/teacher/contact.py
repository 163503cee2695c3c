"""First contact with a server: is it there, and does it serve the model?

`/models` informs and does not decide: many servers do not have it, list other names than they take, or guard it with
another permission. Where it does not settle the question, the model is asked for one token.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Sequence
from typing import Any

from agentkd.errors import ServerRefused, UserError, WorldError
from agentkd.teacher.address import Address
from agentkd.teacher.transport import AttemptFailed, Refused, Transport, parse_body, read_response

PING_TIMEOUT = 10.0  # seconds for the list of models of a server that ought to be up
PROBE_TIMEOUT = 60.0  # seconds for a token: the server may load the model first
NEAREST = 5  # names that an error shows


async def check(wire: Transport, model: str) -> list[str]:
    """Check that an address answers and serves the model; return lines on what is odd.

    Raises WorldError where no address can be used, ServerRefused where they refuse the key or the account, UserError
    where they serve other models."""
    found = await asyncio.gather(*(_contact(wire, address, model) for address in wire.addresses))
    errors = [each for each in found if isinstance(each, Exception)]
    if len(errors) == len(found):
        raise errors[0]
    lines = [f"{error}; the other addresses carry on" for error in errors]
    return lines + [each for each in found if isinstance(each, str) and each]


async def _contact(wire: Transport, address: Address, model: str) -> str | WorldError | UserError:
    """Contact one address; return a line for the user, empty where all is well, or why it cannot be used."""
    names, status = None, 0
    try:
        response = await wire.request(address, "GET", "/models", None, PING_TIMEOUT)
        status, names = response.status, read_names(parse_body(response.body)) if response.status == 200 else None
    except AttemptFailed as fault:
        if not fault.reached:
            address.mark_failed(0.0)
            return _nobody(address, fault)
    if names and any(is_same_model(model, name) for name in names):
        return ""
    try:
        answered = await _ask_one_token(wire, address, model)
    except AttemptFailed as fault:
        if fault.reached:
            return ""  # it is there, and what failed may pass
        address.mark_failed(0.0)
        return _nobody(address, fault)
    except Refused:
        return ""  # the question was wrong for it, not the model
    except ServerRefused as error:
        if names:
            return UserError(f"{address.url} does not serve '{model}': it serves {list_nearest(model, names)}")
        if status in (0, 200, 403, 404, 405):
            return ServerRefused(f"{error} (is it an OpenAI-compatible server? the URL usually ends in /v1)")
        return error
    except ValueError as error:
        return WorldError(
            f"{address.url} {error}: is it an OpenAI-compatible server (the URL usually ends in /v1)?", retry=False
        )
    if not names:
        return ""
    if answered in names and not is_same_model(model, answered):
        return UserError(f"{address.url} does not serve '{model}': it serves {list_nearest(model, names)}")
    return f"{address.url} does not list '{model}' (it lists {list_nearest(model, names)}), but it answers"


async def _ask_one_token(wire: Transport, address: Address, model: str) -> str:
    """Ask for one token, and return the name of the model that has answered, where the server says it.

    Raises what `read_response` does, and ValueError where the answer is no completion."""
    request = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    data = json.dumps(request).encode()
    response = await wire.request(address, "POST", "/chat/completions", data, PROBE_TIMEOUT)
    content = read_response(address, response, ("max_tokens",), lambda content: content)
    if not isinstance(content, dict) or not isinstance(content.get("choices"), list):
        raise ValueError("answers with no completion")
    return content["model"] if isinstance(content.get("model"), str) else ""


def _nobody(address: Address, fault: AttemptFailed) -> WorldError:
    return WorldError(f"no server at {address.url} ({fault}): start it, or use --teacher local or vllm:MODEL")


def read_names(content: Any) -> list[str] | None:
    """The names in a list of models, in any of its usual shapes; None where it is none."""
    if isinstance(content, dict):
        content = content.get("data", content.get("models"))
    if not isinstance(content, list):
        return None
    names = [entry.get("id", entry.get("name")) if isinstance(entry, dict) else entry for entry in content]
    return [name for name in names if isinstance(name, str)]


def is_same_model(model: str, name: str) -> bool:
    """Whether a listed name is that of a model.

    Lists may write `models/NAME`, or `NAME:latest`. Routers take a suffix that they do not list (`V/NAME:nitro`)."""
    asked, listed = (each.removeprefix("models/").removesuffix(":latest").lower() for each in (model, name))
    return asked == listed or ("/" in asked and asked.partition(":")[0] == listed)


def list_nearest(model: str, names: Sequence[str]) -> str:
    """The names nearest to that of a model, for a message."""
    by_key = {name.lower(): name for name in names}
    parts = [key for key in by_key if model.lower() in key.split("/")]
    within = [key for key in by_key if model.lower() in key and key not in parts]
    near = difflib.get_close_matches(model.lower(), by_key, n=NEAREST, cutoff=0.0)
    shown = list(dict.fromkeys([*parts, *within, *near]))[:NEAREST]
    more = len(names) - len(shown)
    return ", ".join(by_key[key][:80] for key in shown) + (f" and {more} more" if more > 0 else "")
