"""Experiments on images and signals: one file a paper.

May import: beds, nets, reproduce, methods, features, metrics, signals.
"""

from agentkd.reproduce.experiment import Comparison, Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "hard": Experiment(
        module="vision.hard",
        title="HARD",
        paper="Nix, Burg and Sinz 2023, arXiv 2305.14890",
        claim="augmentations learned where teacher and student disagree carry the teacher's invariance over, better "
        "than random augmentations of the same strength",
        bed="digits of scikit-learn on a 14 × 14 canvas; the student sees centred images only",
        headline=Comparison("hard", "random-same", "shifted"),
        beside=(Comparison("hard", "kd", "shifted"), Comparison("hard", "random-start", "shifted")),
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
