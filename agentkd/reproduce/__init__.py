"""The founding papers' claims, measured here: one file an experiment, each arm beside its control.

May import: beds, nets, methods, runs.

`EXPERIMENTS` lists them and loads nothing heavy. An experiment's module has `ARMS` (name → what it is) and
`one(arm, seed, quick)`, which trains one arm and returns its metrics.
"""

from agentkd.reproduce.experiment import Comparison, Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "hard": Experiment(
        title="HARD",
        paper="Nix, Burg and Sinz 2023, arXiv 2305.14890",
        claim="augmentations learned where teacher and student disagree carry the teacher's invariance over, better "
        "than random augmentations of the same strength",
        bed="digits of scikit-learn on a 14 × 14 canvas; the student sees centred images only",
        headline=Comparison("hard", "random-same", "shifted"),
        beside=(Comparison("hard", "kd", "shifted"), Comparison("hard", "random-start", "shifted")),
    ),
}
