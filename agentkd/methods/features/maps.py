"""Objectives on feature maps [B, C, H, W]: what is looked at, how channels go together, and the maps themselves.

| objective | source | reduction |
|---|---|---|
| `attention` (AT) | Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928, equation 2 | paper and code differ |
| `nst` | Huang and Wang 2017, arXiv 1707.01219, equations 2 and 6 | mean over batch and pairs of channels |
| `fsp` | Yim et al., CVPR 2017, equations 1 and 2 | sum over the matrix, mean over the batch |
| `ickd` | Liu et al., ICCV 2021, equation 3 | sum, divided by C B² |
| `hcl` | Chen et al., ReviewKD, CVPR 2021, arXiv 2104.09044, section 3.3 | weighted mean of mean squares |
"""

from __future__ import annotations

from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, mse_loss, normalize

from agentkd.errors import UserError
from agentkd.methods.divergences import check_features, check_finite


def attention(student: Tensor, teacher: Tensor, *, form: str = "code") -> Tensor:
    """The squared difference of attention maps: where the energy is, over all channels.

    A map is the sum over channels of F², flattened, divided by its L2 norm. Channels may differ; the larger map is
    pooled. The paper's equation and its authors' code disagree:

    - `code`: the mean over all B H W entries of the squared difference
    - `paper`: the L2 norm of the difference of each sample, mean over the batch
    """
    student, teacher = pool_to_smaller(student, teacher)
    apart = attention_map(student) - attention_map(teacher)
    if form == "code":
        return apart.square().mean()
    if form != "paper":
        raise UserError(f"form is {form!r}: choose code or paper")
    norms: Tensor = vector_norm(apart, dim=-1)
    return norms.mean()


def attention_map(maps_BCHW: Tensor) -> Tensor:
    """Where the energy of the maps is: [B, HW], each of L2 norm 1 (of zeros: 0)."""
    return normalize(maps_BCHW.square().mean(1).flatten(1))


def nst(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared MMD between the sets of channels, each flattened and of norm 1, with the kernel (a · b)².

    Channels may differ; the larger map is pooled."""
    student, teacher = pool_to_smaller(student, teacher)
    q, p = (normalize(maps.flatten(2), dim=-1) for maps in (student, teacher))

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.mT).square().mean()

    return kernel(p, p) + kernel(q, q) - 2.0 * kernel(q, p)


def fsp(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """The flow between two layers: the distance of the matrices F1 F2ᵀ / (H W) of `(first, second)` [B, C1, C2].

    As in torchdistill: the L2 norm along C1, summed over C2, mean over the batch. The paper squares the Frobenius norm
    instead. The two maps of a network are max-pooled to the smaller of them; C1 and C2 must agree between networks."""
    apart = flow(*student)
    other = flow(*teacher)
    check_features(apart, other, "FSP matrices")
    columns: Tensor = vector_norm(apart - other, dim=1)
    return columns.sum() / len(apart)


def flow(first: Tensor, second: Tensor) -> Tensor:
    """F1 F2ᵀ / (H W), [B, C1, C2]."""
    size = _smaller(first, second)
    first, second = (maps if maps.shape[2:] == size else adaptive_max_pool2d(maps, size) for maps in (first, second))
    return first.flatten(2) @ second.flatten(2).mT / (size[0] * size[1])


def ickd(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared distance of channel correlations: F Fᵀ over positions, rows of L2 norm 1. C must agree."""
    q, p = (normalize(maps.flatten(2) @ maps.flatten(2).mT, dim=-1) for maps in (student, teacher))
    check_features(q, p, "channel correlations")
    return (q - p).square().sum() / (q.shape[1] * len(q) ** 2)


def hcl(student: Tensor, teacher: Tensor) -> Tensor:
    """The hierarchical context loss: MSE of the maps and of their averages on grids of 4, 2 and 1 (below H).

    Weights are 1, 1/2, 1/4, … in this order, divided by their sum."""
    check_features(student, teacher, "feature maps")
    grids = [grid for grid in (4, 2, 1) if grid < student.shape[2]]
    total, weights = mse_loss(student, teacher), 1.0
    for power, grid in enumerate(grids, 1):
        pooled = mse_loss(adaptive_avg_pool2d(student, grid), adaptive_avg_pool2d(teacher, grid))
        total = total + 0.5**power * pooled
        weights += 0.5**power
    return total / weights


def pool_to_smaller(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool both maps to the smaller height and width."""
    size = _smaller(first, second)
    one, two = (maps if maps.shape[2:] == size else adaptive_avg_pool2d(maps, size) for maps in (first, second))
    return one, two


def _smaller(first: Tensor, second: Tensor) -> tuple[int, int]:
    for maps in (first, second):
        if maps.dim() != 4:
            raise UserError(f"features of shape {list(maps.shape)} are no maps: give [batch, channels, height, width]")
    check_finite("feature maps", first, second)
    if len(first) != len(second):
        raise UserError(f"maps of {len(first)} and {len(second)} samples: give the same batch to both networks")
    return min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
