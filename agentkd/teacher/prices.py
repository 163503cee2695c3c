"""Prices of tokens: a packaged table of well-known API models, and the user's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from agentkd.errors import UserError
from agentkd.trace import Frozen

PRICE_TABLE = Path(__file__).with_name("prices.yaml")
BATCH_SHARE = 0.5  # of the price, for offline batches
DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")  # gpt-4o-2024-08-06 costs what gpt-4o does, if not listed itself


class Price(Frozen):
    """A price in USD per million tokens.

    `cached` is for prompt tokens that the server had read before; by default it equals `prompt`."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    cached: float | None = Field(None, ge=0)

    def usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """The price of a response; `cached_tokens` are among `prompt_tokens`."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.prompt + cached_tokens * cached + completion_tokens * self.completion) / 1e6


def find_price(model: str, own: Path | None = None, *, packaged: bool = True) -> Price | None:
    """Find the price of a model in the user's file, else (with `packaged`) in our table.

    Returns None where neither has it. Raises UserError for a file that is not a price table."""
    tables = [read_price_table(path) for path in (own, PRICE_TABLE if packaged else None) if path is not None]
    for name in (model, DATE.sub("", model)):
        for table in tables:
            if name in table:
                return table[name]
    return None


def read_price_table(path: Path) -> dict[str, Price]:
    """Read a YAML table of prices by model. Raises UserError with the expected form."""
    form = "write `models:` and below it lines like `my-model: {prompt: 0.1, completion: 0.4}`, USD per million tokens"
    try:
        content: Any = yaml.safe_load(path.read_text())
        return {str(name): Price.model_validate(price) for name, price in content["models"].items()}
    except FileNotFoundError:
        raise UserError(f"no price table at {path}: {form}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][0] if first["loc"] else first["input"]
        raise UserError(f"{path}: {where!r}: {first['msg'].lower()}; {form}") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no price table: {form}") from None
