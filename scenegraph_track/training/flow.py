"""The stage that teaches `FlowNet` the exact flow of the worlds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from geometry.camera import pixel_grid
from geometry.embedded import START, LearnedFlow
from geometry.flow import dis_flow
from geometry.flow_net import STRIDE, FlowNet
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.render import WorldClip
from scenegraph_track.evaluation.flow import end_point_error, flow_regions
from scenegraph_track.training.batches import Item, endless_batches
from scenegraph_track.training.drawn_worlds import Presets, drawn_preset, drawn_scene
from scenegraph_track.training.stage import Stage


class FlowData(BaseModel):
    """What the network is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: Presets = Field({"standard": 0.85, "static": 0.15})
    frame_rates: list[float] = Field([6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0], description="drawn from")
    size: int = Field(128, ge=32, description="side of the rendered images, pixels")
    crop: int = Field(96, ge=32, description="side of what is cut out of them, pixels")
    clips: int = Field(3, ge=1, description="worlds in a batch")
    frames: int = Field(5, ge=2, description="of each world that are rendered")
    pairs: int = Field(6, ge=1, description="of neighbouring frames that each world gives, either way")
    colour: float = Field(0.15, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.01, ge=0, description="largest deviation of the noise added to an image")
    workers: int = Field(1, ge=0, description="processes that render")
    validation_clips: int = Field(24, ge=1, description="held-out worlds")


class FlowLoss(BaseModel):
    """What counts as an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: list[float] = Field([1.0, 0.5, 0.25], description="weights of full resolution, 1/2 and 1/4")
    moving: float = Field(3.0, gt=0, description="weight of pixels of objects, against 1")
    occluded: float = Field(0.3, ge=0, description="factor for pixels that the other image does not show")
    longest: float = Field(100.0, gt=0, description="pixels of flow above which a pixel does not count")


class FlowStage(Stage):
    """Supervised flow: the mean end-point error of all levels (PWC-Net, section 3)."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        data: FlowData = FlowData()
        loss: FlowLoss = FlowLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = FlowNet()

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"flow": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        make = partial(draw_pairs, data=data)
        return endless_batches(make, self.seed, data.clips, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted robust errors of all levels."""
        weights = self.settings.loss
        found = self.net(batch["a"], batch["b"], batch["start"])
        weight = torch.where(batch["moving"], weights.moving, 1.0) * torch.where(batch["hidden"], weights.occluded, 1.0)
        weight = weight * (batch["flow"].norm(dim=1, keepdim=True) <= weights.longest)
        total, errors = found[0].new_zeros(()), []
        for level, (flow, factor) in enumerate(zip(found, weights.levels)):
            error = robust_error(flow, batch["flow"], weight, 2**level)
            total = total + factor * error
            errors.append(error.detach())
        return total, {"error": errors[0], "error_quarter": errors[-1]}

    def validate(self) -> dict[str, float]:
        """End-point errors by region on held-out worlds."""
        errors: dict[str, list[Tensor]] = {}
        clips = 1 if self.dry_run else self.settings.data.validation_clips
        for seed in range(clips):
            clip = render(sample_scene("standard", "val", seed=seed, size=(128, 128)))
            index = len(clip) // 2
            frame, after = clip.frames[index], clip.frames[index + 1]
            a, b = (torch.from_numpy(f.image).permute(2, 0, 1).to(self.device) for f in (frame, after))
            flow = LearnedFlow(self.net)(a, b).permute(1, 2, 0).cpu().numpy()
            error = end_point_error(flow, frame.flow_forward)
            for name, mask in flow_regions(frame, len(clip.scene.objects)).items():
                errors.setdefault(name, []).append(error[mask])
        return {f"epe_{name}": float(np.concatenate(values).mean()) for name, values in errors.items()}


def robust_error(flow: Tensor, truth: Tensor, weight: Tensor, factor: int) -> Tensor:
    """Weighted mean of ``2 (sqrt(1 + e) - 1)`` of end-point errors e in pixels, at a level of the network.

    That is e for small errors; large ones, which are mostly beyond repair, count less than in their proportion.

    Args:
        flow: (B, 2, h, w) pixels of the full image, at a level of its padded resolution.
        truth: (B, 2, H, W).
        weight: (B, 1, H, W).
        factor: Of the resolution.
    """
    if factor > 1:
        height, width = truth.shape[-2:]
        border = (0, -width % STRIDE, 0, -height % STRIDE)
        mass = avg_pool2d(pad(weight, border), factor)
        truth = avg_pool2d(pad(truth * weight, border), factor) / mass.clamp(min=1e-6)
        weight = mass
    error = ((flow - truth) ** 2).sum(1, keepdim=True).add(1e-6).sqrt()
    return (2 * ((1 + error).sqrt() - 1) * weight).sum() / weight.sum()


def draw_pairs(rng: np.random.Generator, data: FlowData) -> Item:
    """Pairs of images of one world, cropped, mirrored and coloured at random.

    Returns:
        ``a``, ``b`` (N, 3, C, C) in [0, 1], ``flow`` and ``start`` (N, 2, C, C) from a to b, exact and by DIS,
        ``moving`` and ``hidden`` (N, 1, C, C).
    """
    preset, rate = drawn_preset(rng, data.presets), float(rng.choice(data.frame_rates))
    clip = render(drawn_scene(rng, preset, (data.size, data.size), data.frames, rate))
    both_ways = [pair for k in range(data.frames - 1) for pair in ((k, k + 1), (k + 1, k))]
    chosen = rng.permutation(len(both_ways))[: data.pairs]
    pairs = [_pair(rng, clip, *both_ways[k], data) for k in chosen]
    return {name: torch.from_numpy(np.stack([pair[name] for pair in pairs])) for name in pairs[0]}


def _pair(rng: np.random.Generator, clip: WorldClip, first: int, second: int, data: FlowData) -> dict[str, np.ndarray]:
    frame = clip.frames[first]
    way: Literal["forward", "backward"] = "forward" if second > first else "backward"
    flow = np.asarray(getattr(frame, f"flow_{way}"), np.float32).transpose(2, 0, 1)
    hidden = getattr(frame, f"occluded_{way}")[None]
    moving = ((frame.instance > 0) & (frame.instance <= len(clip.scene.objects)))[None]
    images = colour_pair(rng, frame.image, clip.frames[second].image, data.colour, data.noise)
    x, y = rng.integers(0, data.size - data.crop + 1, 2)
    window = (slice(None), slice(y, y + data.crop), slice(x, x + data.crop))
    maps = [part[window] for part in (*images, flow, moving, hidden)]
    if rng.random() < 0.5:
        maps = [part[:, :, ::-1] for part in maps]
        maps[2] = maps[2] * np.array([-1, 1], np.float32)[:, None, None]
    if rng.random() < 0.25:
        maps = [part[:, ::-1] for part in maps]
        maps[2] = maps[2] * np.array([1, -1], np.float32)[:, None, None]
    if rng.random() < 0.25:
        maps = [part.transpose(0, 2, 1) for part in maps]
        maps[2] = maps[2][::-1]
    found = dict(zip(("a", "b", "flow", "moving", "hidden"), (np.ascontiguousarray(part) for part in maps)))
    ends = pixel_grid(data.crop, data.crop).numpy() + found["flow"]
    found["hidden"] = found["hidden"] | ((ends < 0) | (ends > data.crop)).any(0, keepdims=True)
    there = dis_flow(torch.from_numpy(found["a"]), torch.from_numpy(found["b"]), START)
    return found | {"start": there.numpy()}


def colour_pair(
    rng: np.random.Generator, image: np.ndarray, other: np.ndarray, strength: float, noise: float
) -> list[np.ndarray]:
    """Two uint8 images (H, W, 3) as float32 (3, H, W) in [0, 1] of another exposure, contrast, colour and noise.

    The change is the same for both, but for a tenth of it.
    """
    gain, contrast, gamma = np.exp(rng.normal(0, strength, 3))
    tint = np.exp(rng.normal(0, strength / 2, 3))
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    level = rng.uniform(0, noise)
    out = []
    for pixels in (image, other):
        own_gain, own_contrast, own_gamma = np.exp(rng.normal(0, strength / 10, 3)) * (gain, contrast, gamma)
        values = (pixels[..., order] / np.float32(255)) ** np.float32(own_gamma)
        values = (values - 0.5) * own_contrast + 0.5
        values = values * (own_gain * tint) + rng.normal(0, 1, values.shape) * level
        out.append(np.clip(values, 0, 1).astype(np.float32).transpose(2, 0, 1))
    return out
