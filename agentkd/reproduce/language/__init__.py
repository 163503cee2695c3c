"""Experiments on language, and on language with images: one file a paper.

May import: beds, nets, reproduce, methods, tokens, metrics, features, recommend.
"""

from agentkd.reproduce.experiment import Comparison, Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "miniplm": Experiment(
        module="language.miniplm",
        title="MiniPLM",
        paper="Gu et al., ICLR 2025, arXiv 2410.17215",
        claim="of equal tokens, documents that a large model finds much likelier than a small one teach a language "
        "model more",
        bed="generated texts: 40 % boilerplate, 30 % noise, 15 % grammar, 15 % facts; Llamas of 64 × 2 (teacher, "
        "trained long) and 48 × 2 (reference, trained little; student)",
        headline=Comparison("difference", "random", "validation", higher=False),
        beside=(
            Comparison("difference", "lowest", "validation", higher=False),
            Comparison("difference", "highest", "validation", higher=False),
            Comparison("difference", "random", "boilerplate", higher=False),
            Comparison("difference", "random", "% noise", higher=False),
        ),
    ),
    "llava-kd": Experiment(
        module="language.llava_kd",
        title="LLaVA-KD",
        paper="Cai et al., ICCV 2025, arXiv 2410.16236",
        claim="distilled pre-training and distilled fine-tuning around fine-tuning beat it alone at equal steps",
        bed="templated questions about generated images of 24 × 24 pixels, 300 for the student and 6,000 for the "
        "teacher; held out: combinations of shape, colour and column that no training image has; Llamas of 32 and 64 "
        "channels over one frozen patch encoder",
        headline=Comparison("three stages", "sft", "held out"),
        beside=(
            Comparison("three stages", "pt, sft", "held out"),
            Comparison("three stages", "sft", "seen"),
            Comparison("three stages", "no answer", "held out"),
            Comparison("three stages", "no visual", "held out"),
            Comparison("three stages", "no relation", "held out"),
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
    "swing": Experiment(
        module="language.swing",
        title="Swing",
        paper="Li et al. 2022, arXiv 2212.08349",
        claim="a temperature for each token and noise where private data stand cut the exposure of secrets by more "
        "than 80 %, at the same task loss",
        bed="characters of generated sentences with five telephone numbers, twenty times each; GRU of 64 to GRU of "
        "48; exposure among all 10,000 codes, at most 13.3 bits",
        headline=Comparison("swing", "kd", "exposure", higher=False),
        beside=(
            Comparison("swing", "kd", "task loss", within=0.01),
            Comparison("swing", "passage alone", "exposure", higher=False),
            Comparison("swing", "temperature", "exposure", higher=False),
            Comparison("swing", "noise", "exposure", higher=False),
            Comparison("swing", "fresh noise", "exposure", higher=False),
            Comparison("swing", "global temperature", "exposure", higher=False),
            Comparison("swing", "mask", "exposure", higher=False),
            Comparison("mask", "kd", "exposure", higher=False),
            Comparison("mask", "kd", "task loss", within=0.01),
        ),
    ),
    "distiller": Experiment(
        module="language.distiller",
        title="Distiller",
        paper="He et al., SustaiNLP 2021, arXiv 2109.11105",
        claim="MI-alpha is the best intermediate loss, and the intermediate loss is the component that counts most",
        bed="opinions of made-up words with negators, 512 unlabelled texts for the student; BERT made from a config, 4 "
        "layers of 48 to 2 of 24, all 32 recipes; a GPT-2 of the same sizes by one recipe",
        headline=Comparison("mi-alpha", "mse", "accuracy"),
        beside=(
            Comparison("mi-alpha", "ce", "accuracy"),
            Comparison("mi-alpha", "cosine", "accuracy"),
            Comparison("mi-alpha", "none", "accuracy"),
            Comparison("mi-alpha", "mse", "tuned"),
            Comparison("mi-alpha", "none", "tuned"),
            Comparison("mi-alpha", "mse", "decoder"),
            Comparison("factor: intermediate loss", "factor: prediction loss", "share of variance"),
            Comparison("factor: intermediate loss", "factor: augmentation", "share of variance"),
            Comparison("factor: intermediate loss", "factor: mapping", "share of variance"),
        ),
    ),
}
