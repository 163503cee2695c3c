"""The price table, and the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkd.errors import UserError
from agentkd.runs.progress import format_usd
from agentkd.teacher.prices import PRICE_TABLE, Price, find_price, read_price_table


def test_the_packaged_table_is_whole() -> None:
    table = read_price_table(PRICE_TABLE)
    assert {"gpt-4o-mini", "gpt-4.1", "o3"} <= set(table)
    assert all(0 < price.prompt <= price.completion for price in table.values())
    assert all(price.cached is None or price.cached < price.prompt for price in table.values())


def test_a_dated_name_costs_what_its_model_does() -> None:
    assert find_price("gpt-4o-2024-08-06") == find_price("gpt-4o") == Price(prompt=2.5, completion=10, cached=1.25)
    assert find_price("claude-haiku-4-5-20251001") == find_price("claude-haiku-4-5")
    assert find_price("gpt-4o-audio") is None and find_price("mock-1") is None


def test_tokens_by_kind() -> None:
    price = Price(prompt=2.0, completion=8.0, cached=0.5)
    assert price.usd(1_000_000, 1_000_000) == 10
    assert price.usd(1_000_000, 0, 400_000) == pytest.approx(1.4)
    assert Price(prompt=2.0, completion=8.0).usd(10, 0, 10) == pytest.approx(2e-5), "no rebate is known"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {m: {prompt: -1, completion: 2}}", "'?prompt'?.*greater than or equal to 0"),
        ("models: {m: {prompt: 1}}", "completion.*required"),
        ("models: {m: {prompt: 1, completion: 2, output: 3}}", "output"),
        ("m: {prompt: 1, completion: 2}", "is no price table"),
        ("models: [", "is no price table"),
        ("", "is no price table"),
    ],
)
def test_a_file_that_is_no_table(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=rf"own.yaml.*{words}"):
        find_price("m", file)
    with pytest.raises(UserError, match=r"no price table at .*nowhere\.yaml"):
        find_price("m", tmp_path / "nowhere.yaml")


def test_amounts_for_people() -> None:
    assert [format_usd(usd) for usd in (0.00123, 0.5, 12.345, 1234.5)] == ["$0.0012", "$0.5000", "$12.35", "$1,234.50"]
