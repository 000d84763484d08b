"""Objects of an image as slots that compete for its pixels, each where the pixels say that its middle is.

Every pixel votes for the middle of its object and for how far votes may stray (spatial embeddings; Neven et al., 2019),
and has a short embedding.  A slot is a place, a scale and an embedding; slots explain pixels as in slot attention
(Locatello et al., 2020) with a frame of reference of their own (Biza et al., 2023): attention of pixel p to slot k is
``exp(-|v_p - c_k|^2 / 2 s_k^2 - t (1 - e_p . h_k))`` times the probability that p is of an object, and each iteration
sets a slot to the attention-weighted mean of its pixels.  New slots start at the pixel that is least explained; slots
that are given, such as a tracker's predictions, start from their masks and keep their place in the list.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from detectors.cue_backbone import CueBackbone
from detectors.errors import DetectorError
from detectors.pretrained_cues import HUB, PretrainedCues

REACH = 16.0
"""Pixels of a vote of 1."""

SCALE = 6.0
"""Pixels of a scale of 1."""


@dataclass(frozen=True, eq=False)
class PixelVotes:
    """What the pixels of B images say, at 1/2 of the resolution.

    Args:
        objectness: (B, h, w) logit that a pixel is of an object.
        middles: (B, 2, h, w) pixels of the image, where the middle of the object is.
        log_scale: (B, h, w) logarithm of pixels by which votes stray.
        embedding: (B, E, h, w) of length 1.
    """

    objectness: Tensor
    middles: Tensor
    log_scale: Tensor
    embedding: Tensor

    def rows(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Probability of an object (N,), middles (N, 2), and log scale and embedding (N, 1 + E) of one image."""
        looks = torch.cat([self.log_scale[index][None], self.embedding[index]]).flatten(1).T
        return self.objectness[index].flatten().sigmoid(), self.middles[index].flatten(1).T, looks

    def stronger(self, other: PixelVotes, handicap: float = 0.0) -> PixelVotes:
        """Pixel by pixel the votes of whichever is surer of an object; ``handicap`` is taken from the other's logit."""
        wins = (other.objectness - handicap) > self.objectness

        def chosen(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(wins if a.ndim == 3 else wins[:, None], b, a)

        return PixelVotes(
            torch.maximum(self.objectness, other.objectness - handicap),
            chosen(self.middles, other.middles),
            chosen(self.log_scale, other.log_scale),
            chosen(self.embedding, other.embedding),
        )


@dataclass(frozen=True, eq=False)
class Slots:
    """The slots of one image.

    Args:
        masks: (K, h, w) probability that a pixel is of the slot's object, at 1/2 of the resolution.
        presence: (K,) mean objectness of what the slot explains; 0 where it explains nothing.
        middles: (K, 2) pixels of the image.
        looks: (K, 1 + E) log scale and embedding.
    """

    masks: Tensor
    presence: Tensor
    middles: Tensor
    looks: Tensor

    def __len__(self) -> int:
        return len(self.presence)


def full_resolution(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (K, h, w) at 1/2 of the resolution as (K, H, W); the last cells of odd images reach beyond them."""
    double = [2 * side for side in masks.shape[1:]]
    return interpolate(masks[None], double, mode="bilinear", align_corners=False)[0][:, : size[0], : size[1]]


class SlotDetector(nn.Module):
    """Finds objects in images, with or without their motion.

    Args:
        channels: Of the backbone, see `CueBackbone`.
        dim: Features of the backbone.
        embedding: Length of the embedding of a pixel.
        slots: Most slots in an image.
        iterations: Of the attention.
        threshold: Objectness of the pixel from which a new slot starts.
        handicap: Taken from the objectness of still images where there is motion too; None: they are not asked.
        backbone: Pretrained network whose features are added, see `PretrainedCues`; None: none are.
        backbone_weights: See there.

    Raises:
        DetectorError: There is no such pretrained network.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (24, 48, 64, 96),
        dim: int = 24,
        embedding: int = 8,
        slots: int = 24,
        iterations: int = 2,
        threshold: float = 0.5,
        handicap: float | None = 0.0,
        backbone: str | None = None,
        backbone_weights: str = HUB,
    ) -> None:
        super().__init__()
        self.slots, self.iterations, self.threshold, self.handicap = slots, iterations, threshold, handicap
        if backbone is None:
            self.backbone: nn.Module = CueBackbone(channels, dim)
        else:
            self.backbone = PretrainedCues(backbone, backbone_weights, channels, dim)
        self.head = nn.Conv2d(dim, 4 + embedding, 1)
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        nn.init.normal_(self.head.weight, 0, 1e-2)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, residual: Tensor | None = None) -> PixelVotes:
        """What the pixels say.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            residual: (B, 2, H, W) flow without the camera's part, NaN where it cannot be trusted; or None.
        """
        out = self.head(self.backbone(images, residual))
        height, width = out.shape[2:]
        y, x = torch.meshgrid(
            torch.arange(height, device=out.device) * 2 + 1.0,
            torch.arange(width, device=out.device) * 2 + 1.0,
            indexing="ij",
        )
        middles = torch.stack([x, y]) + REACH * out[:, 1:3]
        scale = out[:, 3].clamp(-2, 2) + torch.log(out.new_tensor(SCALE))
        looks = out[:, 4:]
        embedding = looks * torch.rsqrt(looks.square().sum(1, keepdim=True) + 1e-12)
        return PixelVotes(out[:, 0], middles, scale, embedding)

    def attention(self, middles: Tensor, looks: Tensor, slot_middles: Tensor, slot_looks: Tensor) -> Tensor:
        """How well slots explain pixels of one object.

        Args:
            middles: (..., N, 2) where pixels see their middles.
            looks: (..., N, 1 + E).
            slot_middles: (..., K, 2).
            slot_looks: (..., K, 1 + E).

        Returns:
            (..., K, N) logarithms, at most 0.
        """
        squared = (middles[..., None, :, :] - slot_middles[..., :, None, :]).square().sum(-1)
        alike = normalize(slot_looks[..., 1:], dim=-1) @ looks[..., 1:].transpose(-1, -2)
        return -squared / (2 * (2 * slot_looks[..., :1]).exp()) - self.sharpness.exp() * (1 - alike)

    @torch.no_grad()
    def detect(
        self, image: Tensor, residual: Tensor | None = None, previous: Tensor | None = None, still: bool = True
    ) -> Slots:
        """The slots of an image.

        Args:
            image: (3, H, W) RGB in [0, 1].
            residual: (2, H, W), see `forward`.
            previous: (K, H, W) or (K, h, w) soft masks of slots that are known, such as those of the frame before
                carried to this frame; they come first and in their order, with presence 0 where nothing is left.
            still: Whether objects that do not move are looked for where there is motion.

        Raises:
            DetectorError: A shape is wrong.
        """
        if image.ndim != 3 or image.shape[0] != 3:
            raise DetectorError(f"expected an RGB image (3, H, W), found {tuple(image.shape)}")
        votes = self(image[None], None if residual is None else residual[None])
        if residual is not None and still and self.handicap is not None:
            votes = votes.stronger(self(image[None]), self.handicap)
        return self.group(votes, 0, previous)

    def group(self, votes: PixelVotes, index: int = 0, previous: Tensor | None = None) -> Slots:
        """Slots of what the pixels of one image say, see `detect`."""
        objects, middles, looks = votes.rows(index)
        size = votes.objectness.shape[1:]
        slot_middles, slot_looks = self._carried(previous, size, objects, middles, looks)
        slot_middles, slot_looks = self._seeded(objects, middles, looks, slot_middles, slot_looks)
        for _ in range(self.iterations):
            weight = self._shares(objects, middles, looks, slot_middles, slot_looks)
            slot_middles, slot_looks = _means(weight, middles, looks, slot_middles, slot_looks)
        masks = self._shares(objects, middles, looks, slot_middles, slot_looks)
        own = masks * (masks == masks.amax(0, keepdim=True)) * (masks > 0.25) if len(masks) else masks
        presence = (own * objects).sum(1) / own.sum(1).clamp(min=1.0)
        return Slots(masks.view(-1, *size), presence, slot_middles, slot_looks)

    def _shares(self, objects: Tensor, middles: Tensor, looks: Tensor, at: Tensor, like: Tensor) -> Tensor:
        """Probability (K, N) that a pixel is of a slot's object."""
        explained = self.attention(middles, looks, at, like).exp()
        return objects * explained * (explained / explained.sum(0, keepdim=True).clamp(min=1e-6)).clamp(max=1).sqrt()

    def _carried(
        self, previous: Tensor | None, size: torch.Size, objects: Tensor, middles: Tensor, looks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Slots (K, 2) and (K, 1 + E) from the masks of the frame before."""
        if previous is None or not len(previous):
            return middles[:0], looks[:0]
        if previous.ndim != 3:
            raise DetectorError(f"expected masks (K, h, w) of the frame before, found {tuple(previous.shape)}")
        there = interpolate(previous[None].float(), tuple(size), mode="bilinear", antialias=True)[0].flatten(1)
        weight = there * (objects + 1e-4)
        return _means(
            weight, middles, looks, middles.new_zeros(len(there), 2), looks.new_zeros(len(there), looks.shape[1])
        )

    def _seeded(
        self, objects: Tensor, middles: Tensor, looks: Tensor, at: Tensor, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The given slots and new ones for pixels that they leave unexplained."""
        left = objects.clone()
        if len(at):
            left = left * (1 - self.attention(middles, looks, at, like).exp().amax(0))
        for _ in range(self.slots - len(at)):
            best = left.argmax()
            if left[best] < self.threshold:
                break
            at, like = torch.cat([at, middles[best][None]]), torch.cat([like, looks[best][None]])
            left = left * (1 - self.attention(middles, looks, at[-1:], like[-1:])[0].exp())
            left[best] = 0
        return at, like


def _means(weight: Tensor, middles: Tensor, looks: Tensor, at: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted means of the pixels (K, N); slots without pixels stay as they are."""
    total = weight.sum(1, keepdim=True)
    share = weight / total.clamp(min=1e-6)
    there = total > 1e-3
    return torch.where(there, share @ middles, at), torch.where(there, share @ looks, like)
