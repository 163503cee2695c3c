"""Options of a teacher, and the endpoint of its model, as records from config to client."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from agentkd.config import GenerateConfig, KaggleConfig
from agentkd.serving.llama import LOCAL_SLOTS
from agentkd.teacher.prices import Price

TOKEN_TIMEOUT = 0.05  # seconds; a server that writes fewer than 20 tokens/s to everyone is given up


@dataclass(frozen=True)
class TeacherOptions:
    """The options of a teacher that a user can set.

    A request may take `timeout` seconds and `token_timeout` more for each token it asks for: streaming would tell a
    dead server from a slow one sooner, but costs both sides more than the answer itself where thousands of short ones
    are in flight. `max_tokens` and `max_usd` limit all calls of the run together, those of earlier starts included,
    cache hits excluded. `prices` is a price table of the user's, `batch` a folder of batch files to use instead of a
    server. With `insecure` keys may go over plain http to other machines. `vllm_args` and `slots` (requests in flight
    of llama.cpp) are for a server that agentkd starts."""

    timeout: float = 600.0
    token_timeout: float = TOKEN_TIMEOUT
    max_tokens: int | None = None
    max_usd: float | None = None
    prices: Path | None = None
    batch: Path | None = None
    insecure: bool = False
    vllm_args: tuple[str, ...] = ()
    slots: int = LOCAL_SLOTS

    @classmethod
    def from_config(cls, config: GenerateConfig | KaggleConfig, *, slots: int) -> TeacherOptions:
        """Read the options of a stage's config."""
        batch = config.batch if isinstance(config, GenerateConfig) else None
        return cls(
            timeout=config.timeout,
            token_timeout=config.token_timeout if isinstance(config, GenerateConfig) else TOKEN_TIMEOUT,
            max_tokens=config.max_tokens,
            max_usd=config.max_usd,
            prices=Path(config.prices) if config.prices else None,
            batch=Path(batch) if batch else None,
            insecure=config.insecure,
            vllm_args=tuple(shlex.split(config.vllm_args)),
            slots=slots,
        )


DEFAULTS = TeacherOptions()


@dataclass(frozen=True)
class Endpoint:
    """A model and where it answers: one or several addresses of servers that speak the OpenAI protocol.

    `identity` goes into cache keys, traces and tables in place of the address, whose port changes from run to run; by
    default it is the model's name. `together` says that the server answers one prompt n times in one request
    (llama.cpp's embedded server miscounts tokens then)."""

    urls: tuple[str, ...]
    model: str
    identity: str = ""
    price: Price | None = None
    together: bool = True

    @property
    def name(self) -> str:
        """The identity of the model."""
        return self.identity or self.model
