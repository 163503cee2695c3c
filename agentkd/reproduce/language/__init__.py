"""Experiments on language, and on language with images: one file a paper.

May import: beds, nets, reproduce, methods, tokens, metrics, features, recommend.
"""

from agentkd.reproduce.experiment import Comparison, Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "llava-kd": Experiment(
        module="language.llava_kd",
        title="LLaVA-KD",
        paper="Cai et al., ICCV 2025, arXiv 2410.16236",
        claim="distilled pre-training and distilled fine-tuning around fine-tuning beat it alone at equal steps",
        bed="templated questions about generated images of 24 × 24 pixels, 1,000 for the student and 10,000 for the "
        "teacher; pairs of shape and colour that no training image has; Llamas over a frozen patch encoder",
        headline=Comparison("three stages", "sft", "held out"),
        beside=(
            Comparison("three stages", "pt, sft", "held out"),
            Comparison("three stages", "sft", "seen"),
            Comparison("three stages", "no dpt", "held out"),
            Comparison("three stages", "no dft", "held out"),
            Comparison("three stages", "no answer", "held out"),
            Comparison("three stages", "no visual", "held out"),
            Comparison("three stages", "no relation", "held out"),
            Comparison("three stages", "answer alone", "held out"),
        ),
    ),
    "elicitation": Experiment(
        module="language.elicitation",
        title="Elicitation",
        paper="Xu et al. 2024, arXiv 2402.13116; Zelikman et al., NeurIPS 2022, arXiv 2203.14465",
        claim="verified data teach more than as many that are not, and a student improves by its own verified choices",
        bed="the packaged task geo: 800 training and 300 test questions, twelve paths each from BM25, which teaches; a "
        "Llama of two layers of random weights over words",
        headline=Comparison("verified", "unverified", "strict F1"),
        beside=(
            Comparison("verified", "same questions", "strict F1"),
            Comparison("star", "seed", "strict F1"),
            Comparison("star", "seed, longer", "strict F1"),
            Comparison("star", "self, unverified", "strict F1"),
        ),
    ),
    "autodistiller": Experiment(
        module="language.autodistiller",
        title="AutoDistiller",
        paper="He et al., SustaiNLP 2021, arXiv 2109.11105",
        claim="a regressor over earlier results recommends a distillation for a task that it has not seen",
        bed="eight tasks of generated points a seed, each left out once; 14 configurations of six methods; regret in "
        "points of accuracy below the best of them",
        headline=Comparison("recommended", "random", "regret", higher=False),
        beside=(
            Comparison("recommended", "best on average", "regret", higher=False),
            Comparison("recommended", "shuffled", "regret", higher=False),
            Comparison("recommended", "no teacher", "regret", higher=False),
            Comparison("recommended, 3", "random, 3", "regret", higher=False),
        ),
    ),
}
