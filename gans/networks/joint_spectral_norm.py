"""The spectral norms of many layers, computed together.

One layer after the other, they take twenty small operations each: more than half of what an update
of SNGAN issues. Here the weights of all layers are one vector, in the order of memory; layers of
one shape are a batch of matrices in it, and what is done for each number is done for all at once.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from saddlepoint.gans.networks.spectral_norm import SpectralNorm


class JointSpectralNorm:
    """Divides the weights of all spectrally normalised layers of some networks at once.

    Args:
        networks: whose layers to take, those of their submodules included.
    """

    def __init__(self, *networks: nn.Module) -> None:
        modules = dict.fromkeys(module for network in networks for module in network.modules())
        lists = [module for module in modules if isinstance(module, ParametrizationList)]
        self._layers = [layer for layer in lists if isinstance(layer[0], SpectralNorm)]
        self._layouts: dict[tuple, _Layout] = {}

    def __bool__(self) -> bool:
        """Whether there are such layers."""
        return bool(self._layers)

    def computed(self, without: Sequence[nn.Module] = ()) -> contextlib.AbstractContextManager:
        """Compute the weights now; every pass within uses them.

        Layers in training mode make one power iteration, whatever the number of passes. Layers in
        eval mode, and those that an enclosing block has computed, are left alone.

        Args:
            without: modules that nobody looks through within; their layers are left alone.
        """
        # Entering a context that has nothing to do takes as long as an operation.
        return self._computed(without) if self._layers else contextlib.nullcontext()

    @contextlib.contextmanager
    def _computed(self, without: Sequence[nn.Module]) -> Iterator[None]:
        idle = {module for network in without for module in network.modules()}
        kinds: dict[tuple, list[ParametrizationList]] = {}
        for layer in self._layers:
            if layer in idle:
                continue
            norm, weight = _norm(layer), layer.original
            if norm.training and norm.ready is None:
                kind = weight.requires_grad, weight.dtype, weight.device
                kinds.setdefault(kind, []).append(layer)
        try:
            for (_, _, device), layers in kinds.items():
                with torch.autocast(device.type, enabled=False):
                    self._compute(layers)
            yield
        finally:
            for layers in kinds.values():
                for layer in layers:
                    _norm(layer).ready = None

    def _compute(self, layers: Sequence[ParametrizationList]) -> None:
        # What is kept of a layout holds for one memory format and one device.
        key = *layers, *(layer.original.stride() for layer in layers), layers[0].original.device
        if key not in self._layouts:
            self._layouts[key] = _Layout([_Matrix.of(layer) for layer in layers])
        layout = self._layouts[key]
        weights = [matrix.layer.original for matrix in layout.matrices]
        _, *normalised = _DivideByNorms.apply(layout, *weights)
        for matrix, weight in zip(layout.matrices, normalised, strict=True):
            _norm(matrix.layer).ready = weight


def _norm(layer: ParametrizationList) -> SpectralNorm:
    return cast(SpectralNorm, layer[0])


class _Matrix(NamedTuple):
    """A weight as a matrix: its output dimension, then the others in the order of its memory."""

    layer: ParametrizationList
    order: tuple[int, ...]
    shape: tuple[int, int]

    @classmethod
    def of(cls, layer: ParametrizationList) -> "_Matrix":
        """The matrix of a layer's weight."""
        norm, weight = _norm(layer), layer.original
        others = [i for i in range(weight.ndim) if i != norm.output_dim]
        others.sort(key=weight.stride, reverse=True)
        return cls(layer, (norm.output_dim, *others), (len(norm.u), len(norm.v)))

    def flatten(self, weight: Tensor) -> Tensor:
        """A weight as a vector; a view, but for transposed convolutions."""
        return weight.permute(self.order).reshape(-1)

    def restore(self, flat: Tensor) -> Tensor:
        """The weight of such a vector."""
        sizes = [self.layer.original.shape[i] for i in self.order]
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return flat.view(sizes).permute(inverse)

    def columns(self) -> Tensor:
        """Which element of v, whose order is logical, belongs to each column."""
        others = sorted(self.order[1:])
        sizes = [self.layer.original.shape[i] for i in others]
        positions = torch.arange(self.shape[1]).view(sizes)
        return positions.permute([others.index(i) for i in self.order[1:]]).reshape(-1)


class _Layout:
    """How the matrices lie in one vector; those of one shape side by side, as a batch.

    Vectors of rows (all u, one after the other) and of columns (all v, in the order of memory) are
    in the same order.
    """

    def __init__(self, matrices: Sequence[_Matrix]) -> None:
        self.matrices = sorted(matrices, key=lambda matrix: matrix.shape)
        shapes = [matrix.shape for matrix in self.matrices]
        self.batches = [(len(list(same)), *shape) for shape, same in groupby(shapes)]
        self.rows = [rows for rows, _ in shapes]
        self.columns = [columns for _, columns in shapes]
        self.sizes = [math.prod(shape) for shape in shapes]
        starts = [sum(self.columns[:i]) for i in range(len(shapes))]
        of_column = [m.columns() + start for m, start in zip(self.matrices, starts, strict=True)]
        to_memory = torch.cat(of_column).to(matrices[0].layer.original.device)
        self.to_memory, self.to_logical = to_memory, to_memory.argsort()
        self.is_logical = torch.equal(to_memory, self.to_logical)

    @property
    def u(self) -> list[Tensor]:
        """The layers' left singular vectors."""
        return [_norm(matrix.layer).u for matrix in self.matrices]

    @property
    def v(self) -> list[Tensor]:
        """The layers' right singular vectors, in logical order."""
        return [_norm(matrix.layer).v for matrix in self.matrices]

    def join(self, weights: Sequence[Tensor]) -> Tensor:
        """The vector of all weights."""
        each = zip(self.matrices, weights, strict=True)
        return torch.cat([matrix.flatten(weight) for matrix, weight in each])

    def split(self, flat: Tensor) -> list[Tensor]:
        """The weights of such a vector."""
        each = zip(self.matrices, flat.split(self.sizes), strict=True)
        return [matrix.restore(part) for matrix, part in each]

    def iterate(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One power iteration from v: new u and v, kept by the layers, and |W^T W v| / |W v|."""
        v = torch.cat(self.v)
        v = v if self.is_logical else v[self.to_memory]
        w = self.of_matrices(flat)
        a = [torch.bmm(v, w.mT) for v, w in zip(self.of_columns(v), w, strict=True)]
        b = [torch.bmm(a, w) for a, w in zip(a, w, strict=True)]
        norms = _norms(a + b)
        vectors = torch.cat([batch.flatten() for batch in a + b])
        vectors = vectors / spread(norms, self.rows + self.columns)
        u, v = vectors.split([sum(self.rows), sum(self.columns)])
        kept = v if self.is_logical else v[self.to_logical]
        torch._foreach_copy_(self.u + self.v, [*u.split(self.rows), *kept.split(self.columns)])
        of_u, of_v = norms.chunk(2)
        return u, v, of_v / of_u

    def of_matrices(self, flat: Tensor) -> list[Tensor]:
        """Batches (n, rows, columns) of a vector of all numbers."""
        parts = flat.split([math.prod(batch) for batch in self.batches])
        return [part.view(batch) for part, batch in zip(parts, self.batches, strict=True)]

    def of_rows(self, vector: Tensor) -> list[Tensor]:
        """Batches (n, 1, rows) of a vector of all rows."""
        parts = vector.split([n * rows for n, rows, _ in self.batches])
        return [part.view(n, 1, -1) for part, (n, _, _) in zip(parts, self.batches, strict=True)]

    def of_columns(self, vector: Tensor) -> list[Tensor]:
        """Batches (n, 1, columns) of a vector of all columns."""
        parts = vector.split([n * columns for n, _, columns in self.batches])
        return [part.view(n, 1, -1) for part, (n, _, _) in zip(parts, self.batches, strict=True)]


class _DivideByNorms(torch.autograd.Function):
    """Weights W -> all sigma(W) = u^T W v, and each W / sigma(W); u and v are constants."""

    @staticmethod
    def forward(ctx: Any, layout: _Layout, *weights: Tensor) -> tuple[Tensor, ...]:
        """Divide the weights of a layout."""
        ctx.set_materialize_grads(False)
        flat = layout.join(weights)
        u, v, sigma = layout.iterate(flat)
        normalised = layout.split(flat / spread(sigma, layout.sizes))
        ctx.save_for_backward(sigma, u, v, *normalised)
        ctx.layout = layout
        return sigma, *normalised

    @staticmethod
    def backward(
        ctx: Any, of_sigma: Tensor | None, *gradients: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """(G - <G, W / sigma> u v^T) / sigma + g u v^T of gradients G and g; differentiable.

        A weight that nothing depends on gets no gradient.
        """
        sigma, u, v, *normalised = ctx.saved_tensors
        layout = ctx.layout
        is_used = [of_sigma is not None or gradient is not None for gradient in gradients]
        given = zip(gradients, normalised, strict=True)
        gradient = layout.join([torch.zeros_like(w) if g is None else g for g, w in given])
        products = layout.of_matrices(gradient * layout.join(normalised))
        slope = torch.cat([batch.sum((1, 2)) for batch in products]) / sigma
        if of_sigma is not None:
            slope = slope - of_sigma
        along_u, along_v = layout.of_rows(u * spread(slope, layout.rows)), layout.of_columns(v)
        scaled = layout.of_matrices(gradient / spread(sigma, layout.sizes))
        each = zip(scaled, along_u, along_v, strict=True)
        sums = [torch.addcmul(g, u.mT, v, value=-1).flatten() for g, u, v in each]
        parts = zip(layout.split(torch.cat(sums)), is_used, strict=True)
        return None, *(part if used else None for part, used in parts)


def spread(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Value i of (n,) ``sizes[i]`` times, one after the other."""
    return torch.cat([v.expand(n) for v, n in zip(values.unbind(), sizes, strict=True)])


def _norms(batches: Sequence[Tensor]) -> Tensor:
    """Length of every row of batches (n, 1, d), one batch after the other."""
    return torch.stack(torch._foreach_norm([row for batch in batches for row in batch.unbind()]))
