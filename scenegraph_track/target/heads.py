"""From filters and features to score maps and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from scenegraph_track.target.views import View, to_image

_LARGEST = 3.0
"""Of the logarithm of a distance: 20 sides of a view."""

_TYPICAL = -2.2
"""The same before training: the middle of a box whose side is 2/9 of the view's."""


@dataclass(frozen=True, eq=False)
class Response:
    """What N targets find in a grid of cells.

    Args:
        score: (N, h, w), about 1 where a target's middle is and 0 or less where it is not.
        cells: (N,) the cell that is taken for the middle, row by row.
        ltrb: (N, 4) distances from the middle of that cell to the sides of the box, in units.
    """

    score: Tensor
    cells: Tensor
    ltrb: Tensor

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def peaks(self) -> Tensor:
        """(N,) scores of the cells."""
        return self.score.flatten(1).gather(1, self.cells[:, None])[:, 0]


def classify(filters: Tensor, features: Tensor) -> Tensor:
    """Products of filters and features: for features that are shared, one product of matrices for all targets.

    Args:
        filters: (N, D).
        features: (D, h, w) or (1, D, h, w) for all of them, or (N, D, h, w).

    Returns:
        (N, h, w).
    """
    shared = features[0] if features.ndim == 4 and len(features) == 1 else features
    if shared.ndim == 3:
        return (filters @ shared.flatten(1)).unflatten(1, shared.shape[1:])
    return torch.einsum("nd,ndhw->nhw", filters, features)


def hann_window(size: tuple[int, int], like: Tensor) -> Tensor:
    """(h, w) products of ``(1 - cos(2 pi k / (n + 1))) / 2``, k = 1..n, which prefer the middle of a view."""
    steps = (torch.arange(1, n + 1, device=like.device, dtype=like.dtype) / (n + 1) for n in size)
    y, x = ((1 - torch.cos(2 * torch.pi * step)) / 2 for step in steps)
    return y[:, None] * x


def decode(response: Response, stride: float, unit: float, views: View | Sequence[View] | None = None) -> Tensor:
    """The boxes of a response.

    Args:
        response: Of N targets.
        stride: Pixels of a cell.
        unit: Pixels of a distance of 1.
        views: That the cells cover, one or N of them; None: boxes in pixels of the view or image itself.

    Returns:
        (N, 4) xyxy.
    """
    width = response.score.shape[2]
    x, y = (response.cells % width + 0.5) * stride, (response.cells // width + 0.5) * stride
    left, top, right, bottom = (response.ltrb * unit).unbind(1)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], 1)
    return boxes if views is None else to_image(boxes, views)


class CellNorm(nn.GroupNorm):
    """Normalises the channels of each cell by themselves, so that a cell does not depend on how large its map is."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w)."""
        mean = x.mean(1, keepdim=True)
        deviation = (x - mean).square().mean(1, keepdim=True).add(self.eps).rsqrt()
        return (x - mean) * deviation * self.weight[:, None, None] + self.bias[:, None, None]


class BoxTower(nn.Module):
    """Distances to the sides of the box, ``exp`` of convolutions on features times the box filter's attention (ToMP).

    Cells are normalised by themselves (ToMP has group normalisation), so that the distances at a few cells, computed
    from their surroundings alone, are those of the whole map.

    Args:
        dim: Of the features.
        width: Of the convolutions.
        layers: Convolutions before the last.
    """

    def __init__(self, dim: int, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        inner = [dim, *[width] * layers]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, bias=False) for a, b in pairwise(inner))
        self.norms = nn.ModuleList(CellNorm(width) for _ in range(layers))
        self.out = nn.Conv2d(inner[-1], 4, 3)
        nn.init.normal_(self.out.weight, std=1e-2)
        nn.init.constant_(self.out.bias, _TYPICAL)

    @property
    def reach(self) -> int:
        """Cells on each side of one that its distances depend on."""
        return len(self.convolutions) + 1

    def forward(self, filters: Tensor, features: Tensor) -> Tensor:
        """Distances at all cells.

        Args:
            filters: (N, D).
            features: As for `classify`.

        Returns:
            (N, 4, h, w) in units.
        """
        features = features if features.ndim == 4 else features[None]
        x = classify(filters, features)[:, None] * features
        for layer, norm in zip(self.convolutions, self.norms):
            x = norm(conv2d(x, layer.weight, padding=1)).relu()
        return _distances(conv2d(x, self.out.weight, self.out.bias, padding=1))

    def at(self, filters: Tensor, features: Tensor, cells: Tensor) -> Tensor:
        """Distances at one cell of each target, the same as those of `forward`, from windows round the cells.

        Args:
            filters: (N, D).
            features: As for `classify`.
            cells: (N,) row by row.

        Returns:
            (N, 4) in units.
        """
        features = features if features.ndim == 4 else features[None]
        height, width = features.shape[2:]
        side = torch.arange(2 * self.reach + 1, device=cells.device)
        rows, columns = (cells // width)[:, None] + side, (cells % width)[:, None] + side  # of the padded map
        number = torch.arange(len(cells), device=cells.device) if len(features) > 1 else torch.zeros_like(cells)
        padded = pad(features, (self.reach,) * 4).permute(0, 2, 3, 1)
        window = padded[number[:, None, None], rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
        inside_y = (rows >= self.reach) & (rows < height + self.reach)
        inside_x = (columns >= self.reach) & (columns < width + self.reach)
        inside = (inside_y[:, :, None] & inside_x[:, None])[:, None].to(window.dtype)
        x = classify(filters, window)[:, None] * window
        for layer, norm in zip(self.convolutions, self.norms):
            inside = inside[..., 1:-1, 1:-1]
            x = norm(layer(x)).relu() * inside
        return _distances(self.out(x))[..., 0, 0]


def _distances(logarithm: Tensor) -> Tensor:
    return logarithm.clamp(-2 * _LARGEST, _LARGEST).exp()


@dataclass(frozen=True, eq=False)
class CentreMaps:
    """What `CentreHead` gives for B views.

    Args:
        score: (B, h, w) probability that a target's middle is in the cell.
        size: (B, 2, h, w) width and height of its box, in sides of the map.
        offset: (B, 2, h, w) x and y of the middle in its cell, in cells from the cell's corner.
    """

    score: Tensor
    size: Tensor
    offset: Tensor

    def boxes(self, prior: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Boxes (B, 4) xyxy in sides of the map, with gradient, at the best cells, and their scores (B,).

        Args:
            prior: (h, w) or (B, h, w) weights of the cells when the best one is chosen.
        """
        height, width = self.score.shape[1:]
        wanted = self.score if prior is None else self.score * prior
        cells = wanted.flatten(1).argmax(1)

        def there(maps: Tensor) -> Tensor:
            return maps.flatten(2).gather(2, cells[:, None, None].expand(-1, 2, 1))[..., 0]

        corner = torch.stack([cells % width, cells // width], 1)
        middle = (corner + there(self.offset)) / corner.new_tensor([width, height])
        half = there(self.size) / 2
        return torch.cat([middle - half, middle + half], 1), self.score.flatten(1).gather(1, cells[:, None])[:, 0]


class CentreHead(nn.Module):
    """Score, size and offset maps of one target (OSTrack, section 3.3): three branches of four convolutions.

    Args:
        dim: Of the features.
        channels: Of the first convolution; each further one has half of them.
    """

    def __init__(self, dim: int, channels: int = 64) -> None:
        super().__init__()
        self.score, self.size, self.offset = (_branch(dim, channels, out) for out in (1, 2, 2))

    def forward(self, features: Tensor) -> CentreMaps:
        """Maps of features (B, D, h, w)."""
        score, size = self.score(features)[:, 0], self.size(features)
        return CentreMaps(_bounded(score), _bounded(size), self.offset(features))


def _branch(dim: int, channels: int, out: int) -> nn.Sequential:
    inner = [dim, *(channels // 2**k for k in range(4))]
    parts: list[nn.Module] = []
    for a, b in pairwise(inner):
        parts += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, nn.Conv2d(inner[-1], out, 1))


def _bounded(logit: Tensor) -> Tensor:
    return logit.sigmoid().clamp(1e-4, 1 - 1e-4)
