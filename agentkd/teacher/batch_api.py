"""OpenAI's Files and Batches API: submits batch files, asks for their state, fetches their outputs.

A submitted file has a note beside it, `requests-001.batch.json`, so that a killed command submits nothing twice, except
in the moment between the API's answer and the note.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai

from agentkd.credentials import mask_secrets
from agentkd.errors import ServerRefused, UserError, WorldError
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Say
from agentkd.runs.untrusted import CONFIG_BYTES, parse_json, read_small
from agentkd.teacher.address import Address
from agentkd.teacher.hosted import make_client
from agentkd.teacher.refusal import describe_error, read_refusal
from agentkd.teacher.transport import parse_body, root_cause

TIMEOUT = 600.0  # seconds for one file of up to 200 MB
FILE_BYTES = 500 << 20  # of an output
OVER = ("completed", "expired", "cancelled", "failed")


class BatchApi:
    """The batches of one account, at an address (…/v1) that has a key."""

    def __init__(self, address: Address) -> None:
        self.address = address

    async def submit(self, folder: Path, say: Say) -> None:
        """Submit the request files that have no note yet. Raises WorldError where the API refuses one."""
        async with self._client() as client:
            for path in sorted(folder.glob("requests-*.jsonl")):
                note = note_path(path)
                if note.exists():
                    continue
                with path.open("rb") as file:
                    endpoint = json.loads(file.readline())["url"]
                uploaded = await client.files.create(file=path, purpose="batch")
                batch = await client.batches.create(
                    input_file_id=uploaded.id, endpoint=endpoint, completion_window="24h"
                )
                write_atomically(note, json.dumps({"id": str(batch.id), "fetched": False}) + "\n")
                say(f"submitted {path} as {batch.id}")

    async def fetch(self, folder: Path, say: Say) -> None:
        """Fetch the outputs of finished batches. Raises UserError for a batch that failed as a whole."""
        async with self._client() as client:
            for path in sorted(folder.glob("requests-*.jsonl")):
                note = note_path(path)
                state = read_note(note) if note.exists() else {"fetched": True}
                if state["fetched"]:
                    continue
                batch = await client.batches.retrieve(str(state["id"]))
                counts = batch.request_counts
                done = f"{counts.completed} of {counts.total}" if counts else "0 of 0"
                say(f"{path.name}: {state['id']} is {batch.status}, {done}")
                if batch.status not in OVER:
                    continue
                for kind, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id)):
                    if file_id:
                        content = await client.files.content(file_id)
                        write_atomically(path.with_name(path.name.replace("requests", kind)), content.content)
                if batch.status == "failed":
                    errors = batch.errors.data if batch.errors else None
                    why = (errors[0].message if errors else None) or "no reason given"
                    raise UserError(f"the batch of {path} failed: {why}; remove {path} and {note}, then run again")
                write_atomically(note, json.dumps({**state, "fetched": True}) + "\n")

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[openai.AsyncOpenAI]:
        """The package's client; its errors become lines."""
        url = self.address.url
        try:
            async with make_client(self.address, seconds=TIMEOUT, limit=FILE_BYTES) as client:
                yield client
        except openai.APIStatusError as error:
            content = parse_body(error.response.content)
            text = f"{url} answers {error.status_code} to {error.request.url.path}: {describe_error(content)}"
            if read_refusal(error.status_code, content).cause == "server":
                raise ServerRefused(f"{text}; mend that and run the same command again", error.status_code) from None
            raise WorldError(text) from None
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:  # the package trusts what it reads
            why = mask_secrets(root_cause(error))
            raise WorldError(f"{url} gives no answer for a batch ({why}): run the command again") from None


def read_note(note: Path) -> dict[str, Any]:
    """What became of a request file: the batch's `id`, and whether its output was `fetched`. UserError where the file
    is damaged."""
    try:
        state = parse_json(read_small(note, CONFIG_BYTES))
    except ValueError:
        state = None
    if (
        not isinstance(state, dict)
        or not isinstance(state.get("fetched"), bool)
        or not isinstance(state.get("id"), str)
    ):
        raise UserError(f"{note} is damaged: restore it, or remove it, then the requests are submitted again")
    return state


def note_path(requests: Path) -> Path:
    """The file that records what became of a request file."""
    return requests.with_suffix(".batch.json")
