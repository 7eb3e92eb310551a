"""From features to the vectors that are clustered: mean, PCA, whitening, length 1."""

from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor, nn

#: Directions whose variance is below this share of the largest are rounding, and are left out.
RELATIVE_VARIANCE = 1e-6


class Processing(nn.Module):
    """An affine map and, if wanted, division by the length.

    Args:
        mean: (p,) of the features.
        matrix: (d, p): principal directions, divided by their standard deviations if whitened.
        unit: whether vectors have length 1.
    """

    def __init__(self, mean: Tensor, matrix: Tensor, unit: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)
        self.unit = unit

    @classmethod
    def fitted(cls, features: Tensor, dim: int, whiten: bool, unit: bool = True) -> Self:
        """Fit to features (N, p) of the training images; d is at most ``dim``, p and N - 1.

        Args:
            features: of the training images alone.
            dim: largest d.
            whiten: whether all directions get variance 1.
            unit: see above.
        """
        with np.errstate(invalid="ignore"):  # of shares of the variance, where there is none
            found = PCA(svd_solver="full").fit(features.double().numpy())
        variances = torch.from_numpy(found.explained_variance_)
        kept = min(dim, max(int((variances > RELATIVE_VARIANCE * variances[0]).sum()), 1))
        matrix = torch.from_numpy(found.components_)[:kept]
        if whiten and variances[0] > 0:
            matrix = matrix / variances[:kept, None].sqrt()
        return cls(torch.from_numpy(found.mean_).float(), matrix.float(), unit)

    def forward(self, features: Tensor) -> Tensor:
        """Vectors (n, d) of features (n, p)."""
        vectors = (features.float() - self.mean) @ self.matrix.mT
        return F.normalize(vectors, dim=1) if self.unit else vectors
