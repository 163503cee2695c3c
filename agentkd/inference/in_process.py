"""A transformers model that answers in this process, in batches, without a server.

`eval` runs a student this way. It is a `Chat` like `client.Teacher`, so every agent runs on either. On a GPU, or for
many questions, serve the student with `vllm:DIR` instead.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.errors import UserError
from agentkd.inference.model_folder import load_weights, open_tokenizer
from agentkd.inference.padding import reads_padding
from agentkd.inference.trie import Trie, Weigher
from agentkd.models import find_weights
from agentkd.runs.progress import say
from agentkd.teacher.cache import Cache
from agentkd.teacher.chat import COMPLETE_TOKENS, Reply, merge_system
from agentkd.teacher.reply import mark_cached, read_string
from agentkd.trace import Message, Usage, content_hash

if TYPE_CHECKING:
    import torch

BATCH = 16
GATHER = 0.01  # seconds to wait for more requests before a batch starts


@dataclass
class _Job:
    prompt: str
    max_tokens: int
    temperature: float
    sample: int
    done: asyncio.Future[Reply]
    choices: tuple[str, ...] = ()
    n: int = 1

    @property
    def settings(self) -> tuple[bool, int, float, int, int]:
        """Jobs with equal settings can share a batch."""
        return bool(self.choices), self.max_tokens, self.temperature, self.sample, self.n


class InProcessModel:
    """A `Chat` over `model.generate`.

    Requests that wait together run as one left-padded batch of at most BATCH; one by one, where the model does not mask
    padding."""

    weighs = True

    def __init__(self, spec: str, *, name: str, cache: Cache | None, trust: bool = False) -> None:
        try:
            import torch
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise UserError(
                f"--model needs {error.name}: pip install 'agentkd[train]', or serve it: vllm:{spec}"
            ) from None
        disable_progress_bar()
        folder = find_weights(spec)
        self.name, self.cache = name, cache
        self.identity = identify_weights(folder)
        self.tokenizer: Any = open_tokenizer(folder, name, trust=trust, padding_side="left")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.model: Any = load_weights(folder, name, dtype, trust=trust).to(device).eval()
        if self.model.generation_config.eos_token_id is None:
            self.model.generation_config.eos_token_id = self.tokenizer.eos_token_id
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
        prompt = format_chat(self.tokenizer, messages)
        return await self._ask(
            _Job(prompt, max_tokens, temperature, sample, asyncio.get_running_loop().create_future())
        )

    async def complete(
        self, prompt: str, *, choices: Sequence[str], n: int = 1, temperature: float = 0.0, sample: int = 0
    ) -> Reply:
        """Continue a text with one of the choices as a JSON string, as `Teacher.complete` does.

        All choices are weighed exactly (`trie.py`): `log_p` has their log-likelihoods, `texts` the likeliest one, or n
        samples."""
        future = asyncio.get_running_loop().create_future()
        reply = await self._ask(_Job(prompt, COMPLETE_TOKENS, temperature, sample, future, tuple(choices), n))
        return reply if choices else reply.model_copy(update={"texts": tuple(map(read_string, reply.texts))})

    async def _ask(self, job: _Job) -> Reply:
        """The answer to a job: from the cache, else from a batch."""
        key = content_hash([self.identity, job.prompt, job.choices, *job.settings])
        hit = None if self.cache is None else self.cache.reply(key)
        if hit is not None and len(hit.log_p) in (0, len(job.choices)):
            return mark_cached(hit)
        await self._queue.put(job)
        reply = await job.done
        if self.cache is not None:
            self.cache.put(key, reply.model_dump(mode="json"))
        return reply

    async def serve(self) -> None:
        """Answer waiting jobs in batches until cancelled."""
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
                replies = await asyncio.to_thread(self._weigh if batch[0].choices else self._answer_all, batch)
            except Exception as error:
                for job in batch:
                    if not job.done.done():
                        job.done.set_exception(error)
                continue
            for job, reply in zip(batch, replies, strict=True):
                if not job.done.done():  # its agent may have been cancelled
                    job.done.set_result(reply)

    def _answer_all(self, batch: list[_Job]) -> list[Reply]:
        if len(batch) == 1 or self._reads_padding:
            return self._answer(batch)
        return [reply for job in batch for reply in self._answer([job])]

    def _answer(self, batch: list[_Job]) -> list[Reply]:
        import torch

        start = time.monotonic()
        _, max_tokens, temperature, sample, n = batch[0].settings
        texts = [job.prompt for job in batch]
        inputs = self.tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False
        ).to(self.model.device)
        torch.manual_seed(sample)
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        with torch.inference_mode():
            output: torch.Tensor = self.model.generate(
                **inputs,
                max_new_tokens=max_tokens,
                num_return_sequences=n,
                pad_token_id=self.tokenizer.pad_token_id,
                **sampling,
            )
        seconds = (time.monotonic() - start) / len(batch)
        end = self.model.generation_config.eos_token_id  # one id, several or none, as the model's authors chose
        ends = set(end) if isinstance(end, list) else {end}
        rows = output[:, inputs["input_ids"].shape[1] :].tolist()
        replies = []
        for number, prompt_ids in enumerate(inputs["attention_mask"]):
            own = rows[number * n : (number + 1) * n]
            lengths = [next((at for at, token in enumerate(ids) if token in ends), len(ids)) for ids in own]
            usage = Usage(
                calls=1,
                prompt_tokens=int(prompt_ids.sum()),
                completion_tokens=sum(min(length + 1, len(ids)) for length, ids in zip(lengths, own, strict=True)),
                seconds=round(seconds, 4),
            )
            whole = [ids[:length] for ids, length in zip(own, lengths, strict=True)]
            cut = any(length == len(ids) for ids, length in zip(own, lengths, strict=True))
            answers = tuple(self.tokenizer.batch_decode(whole, skip_special_tokens=True))
            replies.append(Reply(texts=answers, finish_reason="length" if cut else "stop", usage=usage))
        return replies

    def _weigh(self, batch: list[_Job]) -> list[Reply]:
        import torch

        start = time.monotonic()
        tries = [
            Trie.build(self._ids(job.prompt), [continuation_ids(self.tokenizer, choice) for choice in job.choices])
            for job in batch
        ]
        with torch.inference_mode():
            found = self._weigher(tries)
        seconds = (time.monotonic() - start) / len(batch)
        replies = []
        for job, trie, log_p in zip(batch, tries, found, strict=True):
            picked = [int(log_p.argmax())] * job.n
            if job.temperature:
                draw = torch.Generator().manual_seed(job.sample)
                chances = (log_p.cpu() / job.temperature).softmax(-1)
                picked = torch.multinomial(chances, job.n, replacement=True, generator=draw).tolist()
            read = Usage(
                calls=1,
                prompt_tokens=trie.prompt,
                completion_tokens=len(trie.ids) - trie.prompt,
                seconds=round(seconds, 4),
            )
            texts = tuple(job.choices[number] for number in picked)
            known = tuple(round(value, 4) for value in log_p.tolist())
            replies.append(Reply(texts=texts, finish_reason="stop", usage=read, log_p=known))
        return replies

    @cached_property
    def _reads_padding(self) -> bool:
        found = reads_padding(self.model, self.tokenizer.pad_token_id)
        if not found:
            say(f"{type(self.model).__name__} does not mask padding: it answers one by one, which is slower")
        return found

    @cached_property
    def _weigher(self) -> Weigher:
        return Weigher(self.model, self.tokenizer.pad_token_id)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def continuation_ids(tokenizer: Any, choice: str) -> list[int]:
    """Token ids that continue a text with a choice, as a JSON string, and end it.

    Training uses the same function."""
    ids = tokenizer(json.dumps(choice, ensure_ascii=False), add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def format_chat(tokenizer: Any, messages: Sequence[Message]) -> str:
    """Format messages with the student's chat template, open for the assistant's answer.

    Training uses the same function, so that evaluation shows the student the tokens that it was trained on. Raises
    UserError as `apply_template` does."""
    return apply_template(tokenizer, messages, add_generation_prompt=True)


def apply_template(tokenizer: Any, messages: Sequence[Message], **options: Any) -> str:
    """Format messages with a tokenizer's chat template, as `fit_roles` gives them. Raises UserError as it does."""
    return _try_template(tokenizer, messages, **options)[1]


def fit_roles(tokenizer: Any, messages: Sequence[Message]) -> Sequence[Message]:
    """The messages as a tokenizer's chat template takes them: the system text goes into the first user turn if the
    template has no place for it.

    Raises UserError for a tokenizer without a template, and for a template that refuses the messages."""
    return _try_template(tokenizer, messages, add_generation_prompt=True)[0]


def template_message(message: Message) -> dict[str, Any]:
    """A message as the chat templates of transformers take it: the arguments of tool calls are an object there."""
    row: dict[str, Any] = message.model_dump(exclude={"tool_calls", "reasoning"})
    if message.tool_calls:
        row["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.values},
            }
            for call in message.tool_calls
        ]
    return row | ({"reasoning_content": message.reasoning} if message.reasoning else {})


def _try_template(tokenizer: Any, messages: Sequence[Message], **options: Any) -> tuple[Sequence[Message], str]:
    from jinja2 import TemplateError

    name = tokenizer.name_or_path
    messages = [m.model_copy(update={"role": "system"}) if m.role == "developer" else m for m in messages]
    if tokenizer.chat_template is None:
        raise UserError(f"{name} has no chat template: choose an instruction-tuned model, or form=path")
    systems = [message.content.strip() for message in messages if message.role == "system"]
    reason = "leaves the system text out"
    for version in [messages, merge_system(messages)] if systems else [messages]:
        try:
            plain = [template_message(message) for message in version]
            text = str(tokenizer.apply_chat_template(plain, tokenize=False, **options))
        except (TemplateError, ValueError) as error:  # the latter for several templates without a default
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            continue
        if all(system in text for system in systems):
            return version, text
    raise UserError(
        f"the chat template of {name} refuses a prompt of roles {', '.join(message.role for message in messages)} "
        f"({reason}): give a directory whose chat_template.jinja takes them"
    )


def identify_weights(folder: Path) -> str:
    """Hash a student's identity for the cache: the path, size and time of its weight files."""
    files = sorted(folder.glob("*.safetensors"))
    return content_hash([[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files])


@asynccontextmanager
async def open_in_process(
    spec: str, *, name: str, run: Path | None, trust: bool = False
) -> AsyncIterator[InProcessModel]:
    """Open a student that answers in this process; its batches stop with the context.

    Answers are kept in `run`/cache; without a run they are not kept. With `trust`, code in its folder may run."""
    cache = None if run is None else Cache(run / "cache")
    student = InProcessModel(spec, name=name, cache=cache, trust=trust)
    server = asyncio.create_task(student.serve())
    try:
        yield student
    finally:
        server.cancel()
        if student.cache is not None:
            student.cache.close()
