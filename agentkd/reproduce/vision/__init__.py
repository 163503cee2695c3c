"""Experiments on images and signals: one file a paper.

May import: beds, nets, reproduce, methods, features, metrics, signals.
"""

from dataclasses import replace

from agentkd.reproduce.experiment import Comparison, Curve, Experiment

_MADE: dict[str, Experiment] = {
    "hard": Experiment(
        module="vision.hard",
        title="HARD",
        paper="Nix, Burg and Sinz 2023, arXiv 2305.14890",
        claim="augmentations learned where teacher and student disagree carry the teacher's invariance over, better "
        "than random augmentations of the same strength",
        bed="digits of scikit-learn on a 14 × 14 canvas; the student sees centred images only",
        headline=Comparison("hard", "random-same", "shifted"),
        beside=(
            Comparison("hard", "kd", "shifted"),
            Comparison("hard", "random-start", "shifted"),
            Comparison("hard, latent", "random latent", "shifted"),
            Comparison("hard, latent", "random latent", "centred"),
            Comparison("hard, latent", "kd", "shifted"),
            Comparison("hard, mixing", "kd", "shifted"),
            Comparison("hard, mixing", "kd", "centred"),
        ),
    ),
    "mix-kd": Experiment(
        module="vision.mix_kd",
        title="MIX-KD",
        paper="Choi et al., WACV 2023, arXiv 2211.03946",
        claim="dividing logits by their standard deviation, with partial mixup, beats distillation at a fixed "
        "temperature; a teacher trained with mixup teaches worse",
        bed="digits of scikit-learn, CNN of 16 channels to 4",
        headline=Comparison("std, partial mixup", "kd", "digits"),
        beside=(
            Comparison("std, partial mixup", "scratch", "digits"),
            Comparison("std, partial mixup", "std", "digits"),
            Comparison("std, partial mixup", "std, full mixup", "digits"),
            Comparison("kd, mixup teacher", "kd", "digits", higher=False),
        ),
    ),
    "mcmi": Experiment(
        module="vision.mcmi",
        title="MCMI",
        paper="Ye et al., ICLR 2024, arXiv 2401.08732",
        claim="a teacher tuned to maximum conditional mutual information teaches a class that the student never sees",
        bed="digits of scikit-learn, MLP of 2 × 256 to one of 24",
        headline=Comparison("mcmi", "plain", "omitted class"),
        beside=(
            Comparison("mcmi", "plain", "teacher's CMI"),
            Comparison("mcmi", "label smoothing", "omitted class"),
            Comparison("mcmi", "plain", "5 % of images"),
            Comparison("mcmi", "plain", "all images"),
            Comparison("mcmi", "label smoothing", "all images"),
        ),
        curve=Curve("% of the images", "accuracy", {"5 % of images": 5, "25 % of images": 25, "all images": 100}),
    ),
    "mcmi-rise": Experiment(
        module="vision.mcmi_rise",
        title="MCMI, the rise",
        paper="Ye et al., ICLR 2024, arXiv 2401.08732",
        claim="a teacher tuned to maximum conditional mutual information has more of it",
        bed="digits of scikit-learn, MLP of 2 × 256",
        headline=Comparison("0.5", "plain", "CMI, training images"),
        beside=(
            Comparison("0.25", "plain", "CMI, training images"),
            Comparison("1", "plain", "CMI, training images"),
            Comparison("0.5", "plain", "CMI, test images"),
            Comparison("1", "plain", "CMI, test images"),
            Comparison("0.5", "label smoothing", "CMI, training images"),
            Comparison("0.5", "plain", "accuracy"),
        ),
    ),
    "knfu": Experiment(
        module="vision.knfu",
        title="KnFu",
        paper="Seyedmohammadi et al. 2024, arXiv 2403.11892",
        claim="clients that learn from those whose knowledge fits theirs do better than with the mean of all",
        bed="digits of scikit-learn, ten clients of 100 images, MLPs of 32; concept: half of them shift the labels by "
        "one; skew: Dirichlet(0.3) labels",
        headline=Comparison("knfu", "fedmd", "concept"),
        beside=(
            Comparison("knfu", "local", "concept"),
            Comparison("knfu", "fedavg", "concept"),
            Comparison("knfu", "mean", "concept"),
            Comparison("knfu", "fedmd", "skew"),
            Comparison("knfu", "mean", "skew"),
            Comparison("knfu", "local", "skew"),
        ),
    ),
    "ofa": Experiment(
        module="vision.ofa",
        title="OFA-KD",
        paper="Hao et al., NeurIPS 2023, arXiv 2310.19444",
        claim="where the teacher is of another family, stages projected into logit space beat distillation on logits "
        "and on features",
        bed="digits of scikit-learn, 600 for the student; CNN to ViT for 15 epochs (short) and 50 (long), ViT to CNN",
        headline=Comparison("ofa 0.1", "kd", "long"),
        beside=(
            Comparison("ofa 0.1", "kd", "short"),
            Comparison("ofa 0.1", "kd", "to cnn"),
            Comparison("ofa 0.3", "kd", "long"),
            Comparison("ofa 0.3", "kd", "short"),
            Comparison("ofa 0.3", "kd", "to cnn"),
            Comparison("ofa 1", "kd", "long"),
            Comparison("ofa 1", "kd", "short"),
            Comparison("ofa 1", "kd", "to cnn"),
            Comparison("ofa 0.1", "fitnet", "long"),
            Comparison("ofa 0.1", "scratch", "long"),
        ),
    ),
    "skd-signal": Experiment(
        module="vision.skd_signal",
        title="ClST / SKD",
        paper="Hou et al., TWC 2024, arXiv 2312.17446",
        claim="a signal transformer teaches small networks to tell modulations apart, with a fraction of its "
        "parameters",
        bed="generated I/Q signals, 8 modulations, -6 to 18 dB, 1,120 for training; ClST to KD-CNN and KD-MobileNet",
        headline=Comparison("skd", "scratch", "CNN, a tenth"),
        beside=(
            Comparison("skd", "scratch", "MobileNet"),
            Comparison("skd", "scratch", "CNN"),
            Comparison("skd", "skd, T = 1", "CNN, a tenth"),
        ),
        curve=Curve("dB", "accuracy, CNN of a tenth", {f"a tenth, {ratio} dB": ratio for ratio in range(-6, 19, 4)}),
    ),
    "collaborative": Experiment(
        module="vision.collaborative",
        title="CNN–Transformer",
        paper="Zhu et al., ICCV 2023, arXiv 2307.12574",
        claim="a CNN and a transformer that follow each other only where the other is better beat mutual learning "
        "everywhere",
        bed="segmentation of digits 0 to 3 on canvases of 16 × 16 pixels, 200 for training; U-Net and ViT, their mean",
        headline=Comparison("bsd", "random masks", "mIoU"),
        beside=(
            Comparison("bsd", "mutual", "mIoU"),
            Comparison("bsd", "independent", "mIoU"),
            Comparison("bsd, hfd", "bsd", "mIoU"),
            Comparison("bsd, hfd", "mutual", "mIoU"),
        ),
    ),
    "torchdistill": Experiment(
        module="vision.torchdistill",
        title="torchdistill",
        paper="Matsubara 2021, arXiv 2011.12913, and 2023, arXiv 2310.17644",
        claim="a recipe repeats exactly, and cached teacher outputs give the student that live ones give",
        bed="digits of scikit-learn, CNN of 16 channels to 4; every classic objective on the same networks",
        headline=Comparison("kd, cached", "kd", "fingerprint", within=1e-3),
        beside=(
            Comparison("kd, again", "kd", "fingerprint", within=0.0),
            Comparison("kd", "scratch", "accuracy"),
            Comparison("logit std", "scratch", "accuracy"),
            Comparison("logit std", "kd", "accuracy"),
        ),
    ),
}


MNIST = "MNIST, 3,000 images of 14 × 14 pixels for training and 2,000 for testing"
_OFA = ("to mlp, long", "to mlp, short", "to vit", "mixer to cnn")
_REAL: dict[str, Experiment] = {
    "hard": replace(_MADE["hard"], bed=f"{MNIST}, on a canvas of 16 × 16; the student sees centred images only"),
    "mix-kd": replace(
        _MADE["mix-kd"],
        bed=f"{MNIST}; CNN of 16 channels to 4",
        headline=replace(_MADE["mix-kd"].headline, metric="mnist"),
        beside=tuple(replace(comparison, metric="mnist") for comparison in _MADE["mix-kd"].beside),
    ),
    "mcmi": replace(_MADE["mcmi"], bed=f"{MNIST}; MLP of 2 × 256 to one of 24"),
    "mcmi-rise": replace(_MADE["mcmi-rise"], bed=f"{MNIST}; MLP of 2 × 256"),
    "knfu": replace(
        _MADE["knfu"],
        bed=f"{MNIST}; ten clients of 100 images, MLPs of 32; concept: half of them shift the labels by one; skew: "
        "Dirichlet(0.3) labels",
    ),
    "ofa": replace(
        _MADE["ofa"],
        bed=f"{MNIST}, 600 for the student; CNN to MLP for 15 epochs (short) and 60 (long), CNN to ViT for 25, mixer "
        "to CNN for 40",
        headline=Comparison("ofa 0.1", "kd", _OFA[0]),
        beside=(
            *(Comparison("ofa 0.1", "kd", pair) for pair in _OFA[1:]),
            *(Comparison(arm, "kd", pair) for arm in ("ofa 0.3", "ofa 1") for pair in _OFA),
            Comparison("ofa 0.1", "fitnet", _OFA[0]),
            Comparison("ofa 0.1", "scratch", _OFA[0]),
        ),
    ),
    "torchdistill": replace(
        _MADE["torchdistill"],
        bed=f"{MNIST}; CNN of 16 channels to 4",
        only=("scratch", "kd", "kd, again", "kd, cached", "dkd", "dist", "logit std", "pkt", "srd", "crd", "dml"),
    ),
}
_TRAINED = {
    f"collaborative-{on}": replace(
        _MADE["collaborative"],
        title=f"CNN–Transformer, {on}",
        bed="segmentation of digits 0 to 3 on canvases of 16 × 16 pixels, 200 for training and 300 for testing; "
        f"U-Net and ViT that have learned alone for 12 epochs, then 12 together{more}; their mean",
        on=on,
    )
    for on, more in (("trained", ""), ("strong", " with three times the weights"))
}
EXPERIMENTS: dict[str, Experiment] = {}
for _name, _experiment in _MADE.items():
    EXPERIMENTS[_name] = _experiment
    if _name == "collaborative":
        EXPERIMENTS |= _TRAINED
    if _name in _REAL:
        EXPERIMENTS[f"{_name}-mnist"] = replace(_REAL[_name], title=f"{_experiment.title}, MNIST", on="mnist")
