"""Experiments on language, and on language with images: one file a paper.

May import: beds, nets, reproduce, methods, tokens, metrics.
"""

from agentkd.reproduce.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {}
