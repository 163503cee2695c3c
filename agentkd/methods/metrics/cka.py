"""CKA: how alike the features of two networks are (Kornblith et al., ICML 2019, arXiv 1905.00414).

With K and L the kernel matrices of the same n examples, both doubly centred: <K, L> / (||K|| ||L||), in [0, 1], and 1
up to rotation and scale (equations 4 and 5). `debiased` takes the unbiased estimate of HSIC (Song et al. 2012), which
can be negative, and needs n > 3. Constant features have no CKA: it is NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentkd.errors import UserError


def linear_cka(x_ND: Tensor, y_NE: Tensor, *, debiased: bool = False) -> Tensor:
    """CKA of the linear kernel, from n by n matrices."""
    return cka_of_kernels(x_ND @ x_ND.T, y_NE @ y_NE.T, debiased=debiased)


def linear_cka_of_features(x_ND: Tensor, y_NE: Tensor, *, debiased: bool = False) -> Tensor:
    """The same number from matrices of the size of the features: for many examples."""
    x, y = (_exactly(features - features.mean(0), features) for features in (x_ND, y_NE))

    def product(a: Tensor, b: Tensor) -> Tensor:
        inner = (a.T @ b).square().sum()
        if not debiased:
            return inner
        n = _enough(len(a))
        rows_a, rows_b = a.square().sum(-1), b.square().sum(-1)
        return inner - n / (n - 2) * rows_a @ rows_b + rows_a.sum() * rows_b.sum() / ((n - 1) * (n - 2))

    return product(x, y) / (product(x, x) * product(y, y)).sqrt()


def rbf_cka(x_ND: Tensor, y_NE: Tensor, *, threshold: float = 1.0, debiased: bool = False) -> Tensor:
    """CKA of the kernel exp(-d² / (2 threshold² median(d²))), the median over all n² distances, zeros included."""
    return cka_of_kernels(_rbf(x_ND, threshold), _rbf(y_NE, threshold), debiased=debiased)


def _rbf(features_ND: Tensor, threshold: float) -> Tensor:
    squares = (features_ND[:, None] - features_ND[None]).square().sum(-1)
    return (-squares / (2.0 * threshold**2 * squares.flatten().quantile(0.5))).exp()


def cka_of_kernels(k_NN: Tensor, l_NN: Tensor, *, debiased: bool = False) -> Tensor:
    """CKA of two kernel matrices of the same examples."""
    if k_NN.shape != l_NN.shape:
        raise UserError(f"features of {len(k_NN)} and {len(l_NN)} examples: give the same examples to both networks")
    k, ell = (_centre(matrix, debiased) for matrix in (k_NN, l_NN))
    return (k * ell).sum() / (k.square().sum().sqrt() * ell.square().sum().sqrt())


def _centre(matrix_NN: Tensor, debiased: bool) -> Tensor:
    if not debiased:
        rows = matrix_NN.mean(0)
        return _exactly(matrix_NN - rows[:, None] - rows[None] + rows.mean(), matrix_NN)
    n = _enough(len(matrix_NN))
    own = torch.eye(n, dtype=torch.bool, device=matrix_NN.device)
    hollow = matrix_NN.masked_fill(own, 0.0)
    rows = hollow.sum(0) / (n - 2)
    rows = rows - rows.sum() / (2 * (n - 1))
    return _exactly((hollow - rows[:, None] - rows[None]).masked_fill(own, 0.0), matrix_NN)


def _exactly(centred: Tensor, before: Tensor) -> Tensor:
    """Zeros where nothing but rounding is left of a constant: its CKA is NaN, not a ratio of roundings."""
    noise = 8 * len(before) * torch.finfo(before.dtype).eps * before.abs().max()
    return torch.zeros_like(centred) if bool(centred.abs().max() <= noise) else centred


def _enough(n: int) -> int:
    if n < 4:
        raise UserError(f"{n} examples: the debiased CKA needs at least 4")
    return n
