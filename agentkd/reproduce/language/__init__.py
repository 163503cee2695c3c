"""Experiments on language, and on language with images: one file a paper.

May import: beds, nets, reproduce, methods, tokens, metrics.
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
}
