"""What every stage's config has, and the types that several share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agentkd.credentials import take_secrets

Spec = Annotated[str | None, AfterValidator(lambda text: None if text is None else take_secrets(text))]
"""A model, a server or several, as the user names them; the config holds it without passwords and keys."""
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""One text or several: an option that may be given more than once."""
VERIFY = (
    "verifiers, comma-separated or repeated, the cheapest first: {verifiers}, or a function of (item, answer) as "
    "pkg.mod:function"
)
TRUST = "let code in a model's own folder run, with all rights of yours"
BUDGET = "auto: hours of trials, over all resumes; what was chosen is then trained in full"
PASSES = (
    "auto: instead of hours, passes of trials over the training examples, so that the same command "
    "chooses the same on any machine"
)
OTLP = "spans of OpenTelemetry: a file to write, or the address of a collector [default: none]"
OTLP_CONTENT = "put prompts, replies, tool calls and answers into the spans"
LOG = "draw the curve of the training in trackio, wandb or mlflow, comma-separated [default: none]"
INSECURE = "let keys go over plain http to servers on other machines"


class StageConfig(BaseModel):
    """Fields of every stage. Those in `EXTENT` may grow when a directory is resumed, all others identify it. Those in
    `SHARED` are the same in all stages of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    EXTENT: ClassVar[frozenset[str]] = frozenset()
    SHARED: ClassVar[frozenset[str]] = frozenset()
    CALLED: ClassVar[Mapping[str, str]] = {}  # fields by the names that other tools give them

    out: str | None = Field(None, description="directory to write, and to resume [default: derived and printed]")
    seed: int = Field(0, description="seed of every random choice")
