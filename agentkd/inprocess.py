"""A transformers model that answers in this process, in batches: how `eval` runs a student without a server.

Same `chat` as `teacher.Teacher`, so every agent runs on either. On a GPU, or for many questions, serve the student
with `vllm:DIR` instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.errors import UserError
from agentkd.models import find_weights
from agentkd.teacher import Cache, Reply
from agentkd.trace import Message, Usage, content_hash

if TYPE_CHECKING:
    import torch

BATCH = 16
GATHER = 0.01  # seconds to wait for more requests before a batch starts


@dataclass
class _Job:
    messages: Sequence[Message]
    max_tokens: int
    temperature: float
    sample: int
    done: asyncio.Future[Reply]

    @property
    def settings(self) -> tuple[int, float, int]:
        """Jobs that agree in these can share a batch."""
        return self.max_tokens, self.temperature, self.sample


class InProcess:
    """Chat over `model.generate`. Requests that wait together run as one left-padded batch, at most BATCH of them."""

    def __init__(self, spec: str, *, name: str, cache: Cache | None) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise UserError(
                f"--model needs {error.name}: pip install 'agentkd[train]', or serve it: vllm:{spec}"
            ) from None
        disable_progress_bar()
        folder = find_weights(spec)
        self.name, self.cache = name, cache
        self.identity = weights_identity(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
        self._queue: asyncio.Queue[_Job] = asyncio.Queue()

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.0,
        sample: int = 0,
    ) -> Reply:
        """One completion. A JSON schema cannot be enforced here: UserError names the ways that can."""
        if schema is not None:
            raise UserError(f"{self.name} runs in-process, without constrained output: give it as --teacher vllm:DIR")
        request = {
            "model": self.identity,
            "messages": [message.model_dump() for message in messages],
            "settings": [max_tokens, temperature, sample],
        }
        key = content_hash(request)
        if self.cache is not None and (hit := self.cache.get(key)) is not None:
            reply = Reply.model_validate(hit)
            return reply.model_copy(update={"usage": reply.usage.model_copy(update={"cached": 1, "seconds": 0.0})})
        job = _Job(messages, max_tokens, temperature, sample, asyncio.get_running_loop().create_future())
        await self._queue.put(job)
        reply = await job.done
        if self.cache is not None:
            self.cache.put(key, reply.model_dump(mode="json"))
        return reply

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        """As `chat` with a schema: not here."""
        raise UserError(f"{self.name} runs in-process, without constrained output: give it as --teacher vllm:DIR")

    async def serve(self) -> None:
        """Take what waits, answer it as a batch, for ever."""
        waiting: list[_Job] = []
        while True:
            if not waiting:
                waiting.append(await self._queue.get())
                await asyncio.sleep(GATHER)
            while not self._queue.empty():
                waiting.append(self._queue.get_nowait())
            settings = waiting[0].settings
            batch = [job for job in waiting if job.settings == settings][:BATCH]
            waiting = [job for job in waiting if job not in batch]
            try:
                replies = await asyncio.to_thread(self._answer, batch)
            except Exception as error:
                for job in batch:
                    if not job.done.done():
                        job.done.set_exception(error)
                continue
            for job, reply in zip(batch, replies, strict=True):
                if not job.done.done():  # its agent may have been cancelled meanwhile
                    job.done.set_result(reply)

    def _answer(self, batch: list[_Job]) -> list[Reply]:
        import torch

        start = time.monotonic()
        max_tokens, temperature, sample = batch[0].settings
        texts = [chat_text(self.tokenizer, job.messages) for job in batch]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(self.model.device)
        torch.manual_seed(sample)
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        with torch.inference_mode():
            output: torch.Tensor = self.model.generate(
                **inputs, max_new_tokens=max_tokens, pad_token_id=self.tokenizer.pad_token_id, **sampling
            )
        seconds = (time.monotonic() - start) / len(batch)
        end = self.model.generation_config.eos_token_id  # one id, several or none, as the model's authors chose
        ends = set(end) if isinstance(end, list) else {end}
        replies = []
        for prompt_ids, row in zip(inputs["attention_mask"], output[:, inputs["input_ids"].shape[1] :], strict=True):
            ids = row.tolist()
            length = next((number for number, token in enumerate(ids) if token in ends), len(ids))
            usage = Usage(
                calls=1,
                prompt_tokens=int(prompt_ids.sum()),
                completion_tokens=min(length + 1, len(ids)),
                seconds=round(seconds, 4),
            )
            text = self.tokenizer.decode(ids[:length], skip_special_tokens=True)
            replies.append(Reply(texts=(text,), finish_reason="stop" if length < len(ids) else "length", usage=usage))
        return replies


def chat_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The prompt as the student's template writes it, open for the assistant. Training uses the same function, so
    that the student meets at evaluation the very tokens it was trained on."""
    plain = [message.model_dump() for message in messages]
    return str(tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True))


def weights_identity(folder: Path) -> str:
    """What the cache knows a student by: its path, and when and how large its weights were written."""
    files = sorted(folder.glob("*.safetensors"))
    return content_hash([[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files])


@asynccontextmanager
async def open_student(spec: str, *, name: str, run: Path) -> AsyncIterator[InProcess]:
    """A student ready to answer; its batches stop with the context."""
    student = InProcess(spec, name=name, cache=Cache(run / "cache"))
    server = asyncio.create_task(student.serve())
    try:
        yield student
    finally:
        server.cancel()
        if student.cache is not None:
            student.cache.close()
