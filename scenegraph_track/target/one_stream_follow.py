"""Following targets with the one-stream network: a template of the first frame, a view that goes where the box was."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from scenegraph_track.target.embedded import target_network
from scenegraph_track.target.heads import CentreHead, hann_window
from scenegraph_track.target.one_stream import OneStreamEncoder
from scenegraph_track.target.one_stream_network import OneStreamNetwork
from scenegraph_track.target.small_vit import Attention, SmallViT
from scenegraph_track.target.views import cut, to_image, view_of_box

EMBEDDED = "embedded"
"""In place of a file: the target models that ship."""


class OneStreamSettings(BaseModel):
    """A one-stream network with our small transformer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: int = Field(32, ge=8, description="side of the templates, pixels")
    search: int = Field(64, ge=8, description="side of the view in which the target is looked for, pixels")
    patch: int = Field(8, ge=1, description="pixels of a token along each side")
    width: int = Field(64, ge=1, description="of the tokens")
    depth: int = Field(3, ge=1, description="blocks")
    heads: int = Field(2, ge=1, description="of each attention")
    channels: int = Field(48, ge=8, description="of the first convolution of the head")
    query: bool = Field(True, description="whether a query token goes from frame to frame")
    backbone: str | None = Field(
        None, description="tokens are features of the target models of this file (embedded: that ships), not of patches"
    )

    def network(self) -> OneStreamNetwork:
        """A fresh network.

        Raises:
            UserError: The sizes do not fit each other, or the weights of the backbone are of another kind.
            GeometryError: The file of the backbone is missing or is no weights file.
        """
        backbone = None
        if self.backbone is not None:
            backbone = target_network(None if self.backbone == EMBEDDED else self.backbone).backbone
        vit = SmallViT(self.search, self.patch, self.width, self.depth, self.heads, backbone)
        for block in vit.blocks:
            _attend_to_alike(block.attn)
        encoder = OneStreamEncoder(vit, self.template, self.search)
        return OneStreamNetwork(encoder, self.head(), self.query)

    def head(self) -> CentreHead:
        """A fresh head that begins with likely answers, which saves hundreds of steps.

        Scores are about 0.1 (Lin et al., ICCV 2017), sides a quarter of the view, and offsets the middle of the cell.
        """
        head = CentreHead(self.width, self.channels)
        for branch, bias in ((head.score, -math.log(9)), (head.size, -math.log(3)), (head.offset, 0.5)):
            nn.init.constant_(branch[-1].bias, bias)
        return head


def _attend_to_alike(attention: Attention) -> None:
    """Keys begin as queries, so that tokens attend to their like (mimetic initialisation, Trockman and Kolter, 2023).

    Views are compared with templates from the first step on; a small transformer takes thousands to find that out.
    """
    width = attention.qkv.in_features
    with torch.no_grad():
        queries, keys, _ = attention.qkv.weight.split(width)
        keys.copy_(nn.init.normal_(queries, std=width**-0.5))


class OneStreamFollowSettings(BaseModel):
    """How a target is followed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template_factor: float = Field(2.0, ge=1, description="side of the template in mean sides of the target")
    factor: float = Field(4.0, gt=1, description="side of the view in mean sides of the target")
    hann: float = Field(1.0, ge=0, le=1, description="preference for the middle of the view: 1 is a Hann window")
    resizing: float = Field(0.3, gt=0, le=1, description="part of a change of width and height that is believed")
    margin: float = Field(4.0, gt=0, description="pixels of a box that stay in the image")


@dataclass(frozen=True, eq=False)
class OneStreamFollowed:
    """N targets in one frame.

    Args:
        boxes: (N, 4) xyxy pixels of the image.
        scores: (N,) of the responses; 1 in the first frame.
        templates: (N, 1, 3, S, S) of the first frame.
        query: (N, 1, C) of the response, for the next frame; None in the first, and in a network without.
    """

    boxes: Tensor
    scores: Tensor
    templates: Tensor
    query: Tensor | None


@torch.no_grad()
def start_one_stream(
    net: OneStreamSettings, settings: OneStreamFollowSettings, images: Tensor, boxes: Tensor
) -> OneStreamFollowed:
    """The state in the first frame.

    Args:
        net: Of the network.
        settings: How to follow.
        images: (N, 3, H, W) in [0, 1], or (1, 3, H, W) for all targets.
        boxes: (N, 4) xyxy pixels.
    """
    views = [view_of_box(box, settings.template_factor, net.template) for box in boxes.tolist()]
    return OneStreamFollowed(boxes, boxes.new_ones(len(boxes)), cut(images, views)[:, None], None)


@torch.no_grad()
def follow_one_stream(
    network: OneStreamNetwork,
    net: OneStreamSettings,
    settings: OneStreamFollowSettings,
    state: OneStreamFollowed,
    images: Tensor,
) -> OneStreamFollowed:
    """The state in the next frame.

    Args:
        network: In evaluation mode.
        net: Its settings.
        settings: How to follow.
        state: In the frame before.
        images: As for `start_one_stream`.
    """
    views = [view_of_box(box, settings.factor, net.search) for box in state.boxes.tolist()]
    response = network(state.templates, cut(images, views), state.query)
    size = (response.maps.score.shape[1], response.maps.score.shape[2])
    prior = 1 - settings.hann + settings.hann * hann_window(size, images)
    found, scores = response.maps.boxes(prior)
    found = to_image(found * net.search, views)
    middle, share = (found[:, :2] + found[:, 2:]) / 2, settings.resizing
    before = state.boxes[:, 2:] - state.boxes[:, :2]
    half = before.pow(1 - share) * (found[:, 2:] - found[:, :2]).pow(share) / 2
    boxes = within_image(torch.cat([middle - half, middle + half], 1), images.shape, settings.margin)
    return OneStreamFollowed(boxes, scores, state.templates, response.query)


def within_image(boxes: Tensor, shape: torch.Size, margin: float) -> Tensor:
    """Boxes (N, 4) xyxy cut at images (..., H, W), of which at least ``margin`` pixels stay along each side."""
    limit = boxes.new_tensor([shape[-1], shape[-2]])
    low = torch.minimum(boxes[:, :2].clamp(min=0), limit - margin)
    high = torch.maximum(torch.minimum(boxes[:, 2:], limit), low + margin)
    return torch.cat([low, high], 1)
