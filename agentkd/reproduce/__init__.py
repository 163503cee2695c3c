"""The founding papers' claims, measured here: the runner, the verdict, and what experiments share.

The experiments stand in `vision` and `language`.

May import: vision, language, beds, nets, methods, features, metrics, signals, runs, report.

`EXPERIMENTS` lists them and loads nothing heavy. An experiment's module has `ARMS` (name → what it is) and
`one(arm, seed, quick)`, which trains one arm and returns its metrics.
"""

from agentkd.reproduce.experiment import Experiment
from agentkd.reproduce.language import EXPERIMENTS as LANGUAGE
from agentkd.reproduce.vision import EXPERIMENTS as VISION

EXPERIMENTS: dict[str, Experiment] = VISION | LANGUAGE
