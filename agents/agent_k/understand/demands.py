"""Read what the pages and the sample submission demand of values: shares that sum to one, whole numbers, a range."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.understand.cells import is_gap
from agentkd.agents.agent_k.understand.target_hints import TargetColumns

if TYPE_CHECKING:
    import pandas as pd

NEAR_ONE = 1e-3  # how far the sum of a row may be from one
_MUST = r"\b(?:must|has to|have to|should|shall|need to|needs to|only|required|invalid|rejected|fails?)\b"
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_WHOLE = re.compile(r"\b(?:whole numbers?|integers?|integer values?)\b")
_SUM = re.compile(r"\b(?:sum|add)s?(?: up)? to (?:one|1(?:\.0+)?|100 ?%)(?!\.?\d)")
_RANGE = re.compile(rf"\b(?:between|from|range(?: of)?|in) [\[(]?{_NUMBER}(?: and | to |, ?| ?- ?| ?… ?){_NUMBER}")
_AT_LEAST_ZERO = re.compile(
    r"\bnon-?negative|\b(?:not|no|never) (?:be )?negative|\b(?:at least 0|0 or more|not below (?:0|zero))\b"
)

SPEAKS_OF_QUANTILES = r"quantile|pinball|percentile|interval"
_LEVEL = r"(?:q|quantile|p|pct|percentile)?[ _]?(?:(?P<share>0?[.,_]\d+)|(?P<percent>\d{1,2}(?:\.\d+)?)%?)"


@dataclass(frozen=True)
class Demands:
    """What a submission's values have to be."""

    sums: bool = False  # a row's values sum to one
    whole: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def lines(self) -> list[str]:
        """A line for the user about what is done to the values."""
        said = ["each row's values are scaled to sum to one"] if self.sums else []
        said += ["values are rounded to whole numbers"] if self.whole else []
        if self.low is not None or self.high is not None:
            low, high = ("…" if end is None else f"{end:g}" for end in (self.low, self.high))
            said.append(f"values are kept between {low} and {high}")
        return [f"{line}, as the pages or the sample submission ask" for line in said]


def read_demands(train: pd.DataFrame, sample: pd.DataFrame, columns: TargetColumns, text: str) -> Demands:
    """What the values of a submission of numbers have to be.

    A sentence counts where it says what must be, and does not speak of ids."""
    sentences = re.split(r"(?<=[.!?;])\s+|\n+", text.lower())
    said = [one for one in sentences if re.search(_MUST, one) and not re.search(r"\bids?\b", one)]
    low = 0.0 if any(_AT_LEAST_ZERO.search(one) for one in said) else None
    high = None
    for one in said:
        if (match := _RANGE.search(one)) and float(match[1]) < float(match[2]):
            low, high = float(match[1]), float(match[2])
    sums = len(columns.outputs) > 1 and (any(_SUM.search(one) for one in sentences) or _sums_to_one(sample, columns))
    return Demands(
        sums=sums and _are_shares(train, columns),
        whole=any(_WHOLE.search(one) for one in said),
        low=low,
        high=high,
    )


def read_levels(outputs: Sequence[str]) -> tuple[float, ...]:
    """The levels of columns that are called by quantiles (q0.1, p90, 5%); () where one is not, or two are the same."""
    found = [re.fullmatch(_LEVEL, name.strip(), re.I) for name in outputs]
    if not all(found):
        return ()
    levels = [
        float(re.sub("[,_]", ".", match["share"])) if match["share"] else float(match["percent"]) / 100
        for match in found
        if match
    ]
    return tuple(levels) if len(set(levels)) == len(levels) and all(0 < level < 1 for level in levels) else ()


def find_levels(train: pd.DataFrame, columns: TargetColumns, text: str) -> tuple[float, ...]:
    """The levels of targets that are quantiles of one number: of the same values, in pages that speak of them."""
    targets = list(columns.targets)
    if len(targets) < 2 or not re.search(SPEAKS_OF_QUANTILES, text, re.I):
        return ()
    return read_levels(columns.outputs) if bool((train[targets].nunique(axis=1) == 1).all()) else ()


def _sums_to_one(sample: pd.DataFrame, columns: TargetColumns) -> bool:
    """Whether the values of every row of the sample submission sum to one, without one that is a one itself."""
    import pandas as pd

    values = sample[list(columns.outputs)].apply(pd.to_numeric, errors="coerce")
    near = ((values.sum(axis=1) - 1).abs() < NEAR_ONE).all()
    return bool(near and values.notna().all().all() and (values < 1).all().all())


def _are_shares(train: pd.DataFrame, columns: TargetColumns) -> bool:
    """Whether the targets are counts or shares: numbers of 0 or more, not all 0 in most rows."""
    import pandas as pd

    values = train[list(columns.targets)]
    gaps = values.apply(is_gap)
    numbers = values.apply(pd.to_numeric, errors="coerce")
    fine = bool(numbers.notna().where(~gaps, True).all().all() and not (numbers < 0).any().any())
    return fine and bool((numbers.sum(axis=1) > 0).mean() > 0.5)


def as_shares(train: pd.DataFrame, targets: tuple[str, ...]) -> pd.DataFrame:
    """The training table with each target as its share of the row's sum; "" where that is 0 or a target is unknown."""
    import pandas as pd

    numbers = train[list(targets)].apply(pd.to_numeric, errors="coerce")
    total = numbers.sum(axis=1, skipna=False)
    shares = numbers.div(total.where(total > 0), axis=0)
    written = shares.map(lambda share: "" if share != share else f"{share:.12g}")
    return train.assign(**{name: written[name] for name in targets})
