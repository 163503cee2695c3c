"""The map of the survey: its page shows it, and it names ways and methods that exist."""

from __future__ import annotations

import re

from agentkd.distill.method import METHODS
from agentkd.elicit.run import KINDS
from agentkd.reproduce.everything import END_OF_MAP, MAP
from agentkd.reproduce.survey import draw_map
from tests.support.paths import ROOT


def test_the_page_shows_the_map() -> None:
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    assert page.partition(MAP)[2].partition(END_OF_MAP)[0].strip() == draw_map()


def test_the_map_names_what_exists() -> None:
    assert set(re.findall(r"^\| `agentkd elicit ([\w-]+)` \|", draw_map(), re.M)) == set(KINDS)
    assert set(re.findall(r"--method ([\w-]+)", draw_map())) <= set(METHODS)
