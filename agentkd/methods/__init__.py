"""Distillation methods: one paper a file, pure functions of tensors. p is the teacher, q the student, everywhere.

`METHODS` lists them for `agentkd methods`; it loads no torch. May import: its rooms.
"""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """A founding paper or a classic objective: what it claims, and where it plugs in."""

    title: str
    arxiv: str
    """The number, empty where the paper is not there."""
    claim: str
    plugs_in: str
    module: str
    """The file below `agentkd.methods`."""
    reconstruction: bool = False
    """Whether no code of the authors is public, so that details are our reading."""


METHODS: dict[str, Method] = {
    "kd": Method(
        "Knowledge distillation (Hinton et al.)",
        "1503.02531",
        "soft targets of a teacher say more than labels",
        "logits of classifiers",
        "logits",
    ),
    "dkd": Method(
        "Decoupled KD",
        "2203.08679",
        "the KL among the wrong classes deserves a weight of its own",
        "logits of classifiers",
        "logits",
    ),
    "dist": Method(
        "DIST",
        "2205.10536",
        "correlations are enough, and better where the teacher is much stronger",
        "logits of classifiers",
        "logits",
    ),
    "logit-std": Method(
        "Logit standardisation",
        "2403.01427",
        "student and teacher need not share a temperature",
        "logits of classifiers",
        "logits",
    ),
    "dml": Method(
        "Deep mutual learning",
        "1706.00384",
        "students that teach each other beat a student alone",
        "logits of classifiers, several students at once",
        "logits",
    ),
    "at": Method(
        "Attention transfer", "1612.03928", "where a network looks can be taught", "feature maps", "features.maps"
    ),
    "nst": Method(
        "Neuron selectivity transfer",
        "1707.01219",
        "which places excite a channel can be taught",
        "feature maps",
        "features.maps",
    ),
    "fsp": Method(
        "Flow of solution procedure",
        "",
        "how one layer becomes the next can be taught",
        "feature maps of two layers",
        "features.maps",
    ),
    "ickd": Method(
        "Inter-channel correlation", "", "how channels go together can be taught", "feature maps", "features.maps"
    ),
    "hcl": Method(
        "ReviewKD's hierarchical context loss",
        "2104.09044",
        "maps are compared at several scales",
        "feature maps",
        "features.maps",
    ),
    "pkt": Method(
        "Probabilistic knowledge transfer",
        "1803.10837",
        "who is whose neighbour can be taught",
        "embeddings of a batch",
        "features.relations",
    ),
    "rkd": Method(
        "Relational KD",
        "1904.05068",
        "distances and angles between samples can be taught",
        "embeddings of a batch",
        "features.relations",
    ),
    "spkd": Method(
        "Similarity-preserving KD",
        "1907.09682",
        "pairs that are alike to the teacher should be alike to the student",
        "embeddings of a batch",
        "features.relations",
    ),
    "cckd": Method(
        "Correlation congruence",
        "1904.01802",
        "correlations between samples can be taught",
        "embeddings of a batch",
        "features.relations",
    ),
    "ft": Method(
        "Factor transfer",
        "1802.04977",
        "paraphrased and translated factors are easier to learn",
        "features after a translator",
        "features.factors",
    ),
    "ab": Method(
        "Activation boundaries",
        "1811.03233",
        "on or off counts more than how much",
        "features before the ReLU",
        "features.factors",
    ),
    "vid": Method(
        "Variational information",
        "1904.05835",
        "the student should keep the information of the teacher's features",
        "features after a regressor",
        "features.factors",
    ),
    "srd": Method(
        "Simple recipe",
        "2303.11098",
        "a projector, a norm and a log are enough",
        "last features, through the teacher's classifier",
        "features.factors",
    ),
    "crd": Method(
        "Contrastive representation distillation",
        "1910.10699",
        "the student keeps what its features share with the teacher's",
        "embeddings, with memory banks",
        "features.contrast",
    ),
    "ofa": Method(
        "OFA-KD",
        "2310.19444",
        "a teacher of another family helps, if stages are projected into logit space and the target is sharpened",
        "stages and logits of classifiers",
        "ofa",
    ),
    "mcmi": Method(
        "MCMI",
        "2401.08732",
        "a teacher that says more about an input than its class teaches better, most of all missing classes",
        "the teacher's training",
        "mcmi",
    ),
    "mix-kd": Method(
        "MIX-KD",
        "2211.03946",
        "partial mixup and a temperature by standard deviation help; a teacher trained with mixup teaches worse",
        "inputs and logits of classifiers",
        "mixkd",
    ),
    "hard": Method(
        "HARD",
        "2305.14890",
        "augmentations that make teacher and student disagree transfer the teacher's invariances",
        "inputs of the student",
        "hard",
        reconstruction=True,
    ),
    "knfu": Method(
        "KnFu",
        "2403.11892",
        "each client should learn from those whose knowledge fits its data, not from the mean",
        "predictions of clients on a shared set",
        "knfu",
        reconstruction=True,
    ),
    "swing": Method(
        "Swing distillation",
        "2212.08349",
        "a temperature for each token and noise where private data stands keep secrets out of the student",
        "next-token logits of the teacher",
        "swing",
        reconstruction=True,
    ),
    "collaborative": Method(
        "CNN and transformer together (HFD, BSD)",
        "2307.12574",
        "students of two families that teach each other only where they are better beat mutual learning",
        "two students of segmentation at once",
        "collaborative",
        reconstruction=True,
    ),
    "skd-signal": Method(
        "SKD for modulation recognition",
        "2312.17446",
        "small networks keep the accuracy of a large signal transformer",
        "logits of classifiers of I/Q signals",
        "signals.skd",
        reconstruction=True,
    ),
    "clst": Method(
        "ClST, KD-CNN and KD-MobileNet",
        "2312.17446",
        "convolutional projections and parallel gates make a strong teacher of signals",
        "networks for I/Q signals",
        "signals.networks",
        reconstruction=True,
    ),
    "llava-kd": Method(
        "LLaVA-KD",
        "2410.16236",
        "distilling in pre-training and after fine-tuning lifts a small vision-language model above fine-tuning alone",
        "logits of vision-language models of one vocabulary",
        "llava_kd",
    ),
    "compodistill": Method(
        "CompoDistill",
        "2510.12184",
        "aligning visual attention helps in compositional questions",
        "logits and attention of vision-language models",
        "compodistill",
    ),
    "miniplm": Method(
        "MiniPLM",
        "2410.17215",
        "documents that a large model finds much likelier than a small one teach more for the same tokens",
        "the choice of a corpus",
        "miniplm",
    ),
    "distiller": Method(
        "Distiller",
        "2109.11105",
        "the intermediate loss counts most; MI-alpha is best when tuned",
        "hidden states and attention of encoders and decoders",
        "distiller",
    ),
    "mi-alpha": Method(
        "Bounds of mutual information, MI-alpha",
        "1905.06922",
        "a bound between InfoNCE and TUBA trades bias for variance",
        "features, through a critic",
        "bounds",
    ),
    "gkd": Method(
        "Generalised JSD (GKD)",
        "2306.13649",
        "a divergence between forward and reverse KL, on the student's own samples",
        "next-token logits",
        "tokens.gkd",
    ),
    "distillm": Method(
        "DistiLLM and DistiLLM-2",
        "2503.07067",
        "skew divergences train faster: forward on the teacher's answers, reverse on the student's",
        "next-token logits",
        "tokens.distillm",
    ),
    "sod": Method(
        "SOD, step-wise on-policy distillation",
        "2605.07725",
        "what follows a strange step of an agent should teach less",
        "next-token logits of the student's rollouts, step by step",
        "tokens.stepwise",
        reconstruction=True,
    ),
    "trd": Method(
        "TRD, trajectory-refined distillation",
        "2606.08432",
        "a rollout should be mended where it fails, then taught; weights do not help",
        "the student's rollouts",
        "tokens.refined",
        reconstruction=True,
    ),
    "minillm": Method(
        "MiniLLM",
        "2306.08543",
        "a generative student should seek the teacher's modes",
        "log-probabilities of sampled tokens",
        "tokens.minillm",
    ),
    "akl": Method(
        "Adaptive KL, and losses on order",
        "2404.02657",
        "head and tail of the teacher decide how much forward and reverse KL",
        "next-token logits",
        "tokens.ranking",
    ),
    "topk": Method(
        "Top-K teachers",
        "",
        "a teacher known at K tokens still has a distribution",
        "stored log-probabilities",
        "tokens.topk",
    ),
    "uld": Method(
        "Universal logit distillation, GOLD",
        "2402.12030",
        "models of different vocabularies can be compared by their sorted probabilities",
        "next-token logits of two tokenizers",
        "tokens.uld",
    ),
}
