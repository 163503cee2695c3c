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

import aiohttp

from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Say
from agentkd.teacher.address import Address
from agentkd.teacher.refusal import describe_error
from agentkd.teacher.reply import load_json
from agentkd.teacher.transport import AttemptFailed, parse_body, read_body, root_cause

TIMEOUT = 600.0  # seconds for one file of up to 200 MB
FILE_BYTES = 500 << 20  # of an output
OVER = ("completed", "expired", "cancelled", "failed")


class BatchApi:
    """The batches of one account, at an address (…/v1) that has a key."""

    def __init__(self, address: Address) -> None:
        self.address, self.url = address, address.url

    async def submit(self, folder: Path, say: Say) -> None:
        """Submit the request files that have no note yet. Raises WorldError where the API refuses one."""
        async with self._session() as session:
            for path in sorted(folder.glob("requests-*.jsonl")):
                note = note_path(path)
                if note.exists():
                    continue
                with path.open("rb") as file:
                    endpoint = json.loads(file.readline())["url"]
                    file.seek(0)
                    form = aiohttp.FormData({"purpose": "batch"})
                    form.add_field("file", file, filename=path.name, content_type="application/jsonl")
                    uploaded = await self._json(session, "POST", "/files", data=form)
                order = {"input_file_id": uploaded["id"], "endpoint": endpoint, "completion_window": "24h"}
                batch = await self._json(session, "POST", "/batches", json=order)
                write_atomically(note, json.dumps({"id": batch["id"], "fetched": False}) + "\n")
                say(f"submitted {path} as {batch['id']}")

    async def fetch(self, folder: Path, say: Say) -> None:
        """Fetch the outputs of finished batches. Raises UserError for a batch that failed as a whole."""
        async with self._session() as session:
            for path in sorted(folder.glob("requests-*.jsonl")):
                note = note_path(path)
                state = json.loads(note.read_text()) if note.exists() else {"fetched": True}
                if state["fetched"]:
                    continue
                batch = await self._json(session, "GET", f"/batches/{state['id']}")
                status, counts = batch.get("status"), batch.get("request_counts") or {}
                say(f"{path.name}: {state['id']} is {status}, {counts.get('completed', 0)} of {counts.get('total', 0)}")
                if status not in OVER:
                    continue
                for kind in ("output", "error"):
                    if name := batch.get(f"{kind}_file_id"):
                        content = await self._bytes(session, "GET", f"/files/{name}/content")
                        write_atomically(path.with_name(path.name.replace("requests", kind)), content)
                if status == "failed":
                    errors = (batch.get("errors") or {}).get("data") or [{}]
                    why = errors[0].get("message", "no reason given")
                    raise UserError(f"the batch of {path} failed: {why}; remove {path} and {note}, then run again")
                write_atomically(note, json.dumps({**state, "fetched": True}) + "\n")

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(headers=self.address.headers, timeout=timeout) as session:
            yield session

    async def _json(self, session: aiohttp.ClientSession, method: str, path: str, **content: Any) -> dict[str, Any]:
        raw = await self._bytes(session, method, path, **content)
        try:
            answer = load_json(raw)
            return {**answer, "id": str(answer["id"])}
        except (ValueError, KeyError, TypeError):
            raise WorldError(f"{self.url}{path} answers no batch: {describe_error(parse_body(raw))}") from None

    async def _bytes(self, session: aiohttp.ClientSession, method: str, path: str, **content: Any) -> bytes:
        to, headers = self.address, self.address.proxy_headers
        try:
            async with session.request(
                method, to.target(path), proxy=to.proxy, proxy_headers=headers, allow_redirects=False, **content
            ) as response:
                raw = await read_body(response, FILE_BYTES)
                if response.status >= 300:  # a redirect, too: questions go to no other host
                    raise WorldError(f"{self.url}{path} answers {response.status}: {describe_error(parse_body(raw))}")
                return raw
        except (aiohttp.ClientError, OSError, AttemptFailed) as error:  # a timeout is an OSError
            raise WorldError(f"{self.url}{path} does not answer ({root_cause(error)}): run the command again") from None


def note_path(requests: Path) -> Path:
    """The file that records what became of a request file."""
    return requests.with_suffix(".batch.json")
