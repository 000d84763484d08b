"""The stage that teaches the one-stream network by cycles from one box, with the contextual association of PNTrack.

A target is followed forward through whole frames, and what was found there is the template with which it has to be
found again in local views of the first frame, whose box is the only one that the loss knows (SSTrack, AAAI 2025).  On
the way the best tokens of each frame go along to the next as prompts and, from a switch on, background of other
sequences disturbs a second head (PNTrack, CVPR 2026).  Neither is part of the network that follows targets afterwards:
its weights are ``one_stream.*`` in the file, those of the association ``association.*``.

The start by templates of the first frame alone, the confidence that a found template needs, and all of the association
are our reconstruction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from scenegraph_track.evaluation.single import judge_boxes, single_figures
from scenegraph_track.pretraining.noise import NoiseDecoder, NoiseSchedule, background_tokens, of_other_sequences
from scenegraph_track.pretraining.prompts import (
    Prompts,
    PromptTokens,
    ScoreKind,
    cells_inside,
    reference_attention,
    share_inside,
)
from scenegraph_track.target.heads import CentreMaps
from scenegraph_track.target.labels import heat_maps
from scenegraph_track.target.losses import centre_loss
from scenegraph_track.target.one_stream_follow import (
    OneStreamFollowSettings,
    OneStreamSettings,
    follow_one_stream,
    start_one_stream,
    within_image,
)
from scenegraph_track.target.one_stream_network import OneStreamResponse
from scenegraph_track.target.views import cut, to_image, to_view, view_of_box
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.contextual_data import ContextualData, draw_contextual, held_out_targets, whole_view
from scenegraph_track.training.stage import Stage
from scenegraph_track.training.target_data import TargetClipSettings, target_clips


class WaySettings(BaseModel):
    """How the cycle goes; our reconstruction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warmup: int = Field(2000, ge=0, description="first steps, with the template of the first frame and no way forward")
    confident: float = Field(0.5, ge=0, le=1, description="score from which a found box gives a template")


class Association(BaseModel):
    """The contextual association; steps count from the end of the cycle's warm-up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: int = Field(8, ge=0, description="tokens of a frame that go along to the next; 0: none")
    kind: ScoreKind = Field("product", description="what makes a token one of the best")
    semantic: bool = Field(True, description="false: learned tokens that know no frame, in place of prompts")
    noise: int = Field(8, ge=0, description="tokens of the background of another sequence; 0: none")
    switch: int = Field(800, ge=0, description="steps with prompts; then there are none, but noise")
    soft: int | None = Field(None, ge=1, description="step from which all are with noise, if not from the switch on")

    def schedule(self) -> NoiseSchedule:
        """When noise takes the place of prompts."""
        return NoiseSchedule(self.switch, self.soft)


@dataclass(frozen=True, eq=False)
class Forward:
    """What came of the way forward through K frames.

    Args:
        templates: (B, K, 3, Z, Z).
        query: (B, 1, C) or None.
        prompts: (B, k, C) or None.
        figures: Metrics.
    """

    templates: Tensor
    query: Tensor | None
    prompts: Tensor | None
    figures: dict[str, Tensor]


class ContextualStage(Stage):
    """One box a clip: forward through whole frames, back to the first one, with prompts and then with noise."""

    unused_weights = True

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clips: TargetClipSettings = TargetClipSettings()
        data: ContextualData = ContextualData()
        one_stream: OneStreamSettings = OneStreamSettings()
        cycle: WaySettings = WaySettings()
        association: Association = Association()
        following: OneStreamFollowSettings = OneStreamFollowSettings()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        net, asked = settings.one_stream, settings.association
        self.net = net.network()
        self.prompts = PromptTokens(net.width, asked.prompts, asked.kind, asked.semantic) if asked.prompts else None
        self.noise = NoiseDecoder(net.width, net.head(), net.heads) if asked.noise else None
        self.schedule = asked.schedule()

    def modules(self) -> dict[str, nn.Module]:
        """The network, and what there is of the association, by their names in the weights."""
        parts = {"prompts": self.prompts, "noise": self.noise}
        there = {name: part for name, part in parts.items() if part is not None}
        return {"one_stream": self.net, **({"association": nn.ModuleDict(there)} if there else {})}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        asked = self.settings
        clips = target_clips(asked.clips, self.dry_run, rank, world_size)
        make = partial(draw_contextual, clips=clips, data=asked.data, net=asked.one_stream, following=asked.following)
        return endless_batches(make, self.seed, asked.data.batch, asked.data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Focal + 2 GIoU + 5 L1 in views of the first frame, and the same of the noise decoder where there is noise."""
        cycle = step - self.settings.cycle.warmup
        first, views = _floats(batch["template"]), _floats(batch["views"])
        none = first.new_zeros(())
        figures = dict.fromkeys(("confident", "hit", "prompted", "inside", "most_inside", "noise"), none)
        if cycle < 0:
            way = Forward(first, None, None, {})
            whole, _ = self._back(way, _floats(batch["whole"]), batch["whole_box"], noisy=False)
            local, parts = self._back(way, views[:, :1], batch["view_boxes"][:, :1], noisy=False)
            return local + whole, {**figures, **parts}
        noisy = self.schedule.noisy(cycle)
        way = self._forward(batch, first, prompting=not noisy and self.prompts is not None)
        total, parts = self._back(way, views, batch["view_boxes"], noisy=noisy and self.noise is not None)
        return total, {**figures, **way.figures, **parts}

    def _forward(self, batch: Any, first: Tensor, prompting: bool) -> Forward:
        """Through whole frames; nothing of it gets a gradient but what `PromptTokens` learns."""
        net, asked = self.settings.one_stream, self.settings
        frames, later = _floats(batch["frames"]), _floats(batch["later"])
        view = whole_view((frames.shape[-1], frames.shape[-2]), asked.data.whole)
        templates, sure, hits, shares = [], [], [], []
        query = prompts = None
        training = self.net.training
        self.net.eval()
        for k in range(frames.shape[1]):
            truth = batch["true_boxes"][:, k]
            with torch.no_grad():
                response = self.net(first, later[:, k], query, prompts, attention=prompting)
                inside, score = response.maps.boxes()
                boxes = within_image(to_image(inside * view.size, view), frames.shape, asked.following.margin)
                cuts = [view_of_box(box, asked.following.template_factor, net.template) for box in boxes.tolist()]
                found, sure_enough = cut(frames[:, k], cuts), score >= asked.cycle.confident
            templates.append(torch.where(sure_enough[:, None, None, None], found, first[:, 0]))
            sure.append(sure_enough.float())
            hits.append(_middle_inside(boxes, truth))
            query = response.query
            if prompting:
                made = self._prompts(response, batch["template_box"][:, 0])
                prompts = made.tokens
                if made.index is not None:
                    shares.append(_on_target(made.index, to_view(truth, view) / view.size, response.maps.score))
        self.net.train(training)
        seen = batch["seen"].float().T
        figures = {"confident": torch.stack(sure).mean(), "hit": _mean(torch.stack(hits), seen)}
        if shares:
            share, most = torch.stack(shares, 1)
            figures |= {"prompted": seen.new_ones(()), "inside": _mean(share, seen), "most_inside": _mean(most, seen)}
        return Forward(torch.stack(templates, 1), query, prompts, figures)

    def _prompts(self, response: OneStreamResponse, box: Tensor) -> Prompts:
        """By the attention of the template's tokens within the target's box, compared with that of all its tokens.

        In a short training nothing else was any cue: what the query attends to is no better than chance, and all
        template tokens attend to some places more than to others.
        """
        side = self.settings.one_stream.template // self.settings.one_stream.patch
        inside = cells_inside(box / self.settings.one_stream.template, (side, side))[:, None]
        target, whole = (
            reference_attention(response.output.attention, part) for part in (inside, torch.ones_like(inside))
        )
        share = target / whole.clamp(min=1e-12)
        return self.prompts(response.output.search, share, response.maps.score)

    def _back(self, way: Forward, views: Tensor, boxes: Tensor, noisy: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss in views (B, V, 3, S, S) of the first frame with its boxes (B, V, 4)."""
        targets, count = views.shape[:2]
        each = [
            None if part is None else part.repeat_interleave(count, 0)
            for part in (way.templates, way.query, way.prompts)
        ]
        response = self.net(each[0], views.flatten(0, 1), each[1], each[2])
        truth, side = boxes.flatten(0, 1), views.shape[-1]
        total, parts = self._error(response.maps, truth, side)
        parts["noise"] = total.new_zeros(())
        if noisy:
            features, score = response.output.search, response.maps.score
            found = response.maps.boxes()[0].detach()
            tokens = background_tokens(features, score, found, self.settings.association.noise)
            others = of_other_sequences(tokens.unflatten(0, (targets, count)).flatten(1, 2))
            maps = self.noise(features, others.unflatten(1, (count, -1)).flatten(0, 1))
            parts["noise"] = self._error(maps, truth, side)[0]
        return total + parts["noise"], parts

    def _error(self, maps: CentreMaps, boxes: Tensor, side: int) -> tuple[Tensor, dict[str, Tensor]]:
        """`centre_loss` of maps; boxes are read at the best cell near the true middle, as early scores are no help."""
        size = (maps.score.shape[1], maps.score.shape[2])
        label = heat_maps(boxes, size, self.settings.one_stream.patch)
        found, _ = maps.boxes(prior=label)
        return centre_loss(maps.score, found, label, boxes / side)

    def validate(self) -> dict[str, float]:
        """Figures of targets that are followed through held-out worlds, and ``ao_constant`` of boxes that stay."""
        asked, data = self.settings, self.settings.data
        worlds, length = (1, 4) if self.dry_run else (data.validation_clips, data.validation_frames)
        clips = held_out_targets(worlds, asked.clips.size, length)
        frames = torch.stack([torch.from_numpy(np.stack(clip.images)) for clip in clips], 1)  # T, N, H, W, 3
        first = np.stack([clip.boxes[0] for clip in clips])
        boxes = torch.from_numpy(first).float().to(self.device)
        state = start_one_stream(asked.one_stream, asked.following, self._shown(frames[0]), boxes)
        found = [first]
        for images in frames[1:]:
            state = follow_one_stream(self.net, asked.one_stream, asked.following, state, self._shown(images))
            found.append(state.boxes.cpu().double().numpy())

        def figures(predicted: np.ndarray) -> dict[str, float]:
            rows = zip(clips, predicted.swapaxes(0, 1))
            return single_figures([judge_boxes(clip.boxes, row, clip.absent, clip.size) for clip, row in rows])

        ours, constant = figures(np.stack(found)), figures(np.stack([first] * len(found)))
        return {**{name: ours[name] for name in ("ao", "sr50", "auc")}, "ao_constant": constant["ao"]}

    def _shown(self, images: Tensor) -> Tensor:
        return images.to(self.device).permute(0, 3, 1, 2).float() / 255


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255


def _middle_inside(boxes: Tensor, truth: Tensor) -> Tensor:
    """(B,) 1 where the middle of a box lies in the true one, else 0."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((middle >= truth[:, :2]) & (middle <= truth[:, 2:])).all(1).float()


def _on_target(index: Tensor, boxes: Tensor, score: Tensor) -> Tensor:
    """(2, B): the share of tokens (B, k) in boxes (B, 4) of the view, and the share that there are cells for."""
    grid = (score.shape[1], score.shape[2])
    cells = cells_inside(boxes, grid).flatten(1).sum(1)
    return torch.stack([share_inside(index, boxes, grid), (cells / index.shape[1]).clamp(max=1)])


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
