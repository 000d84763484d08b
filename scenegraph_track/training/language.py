"""The stage that teaches `LanguageNetwork` with sentences about rendered worlds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, cross_entropy, one_hot

from scenegraph_track.data.worlds.captions import ATTRIBUTES
from scenegraph_track.language.network import (
    Boxes,
    LanguageNetSettings,
    LanguageNetwork,
    Response,
    Seen,
)
from scenegraph_track.language.trunk import change_of
from scenegraph_track.language.vocabulary import ASPECTS
from scenegraph_track.target.labels import gaussian_maps
from scenegraph_track.target.losses import focal, giou
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.language_data import (
    FINER,
    LanguageClipSettings,
    LanguageData,
    draw_frames,
    language_clips,
)
from scenegraph_track.training.stage import Stage

_SPOKEN = ("match", "cell", "middle", "box", "dm_bce", "dm_nce", "chosen")
"""Figures of sentences."""

_SPREAD = 0.9
"""Deviation of the labels of middles, cells."""


class LanguageLoss(BaseModel):
    """What counts as an error, and by how much."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    looks_first: int = Field(1000, ge=0, description="steps in which tokens learn what they show, before any sentence")
    aspects: float = Field(1.0, ge=0, description="what each token shows: colour, pattern, shape, size, motion")
    match: float = Field(2.0, ge=0, description="of which objects a sentence is true")
    middle: float = Field(1.0, ge=0, description="focal loss of the map of middles")
    box: float = Field(1.0, ge=0, description="2 GIoU + 5 L1 of the boxes at the middles")
    cells_every: int = Field(4, ge=1, description="steps between two of those first ones in which cells learn too")
    jitter: float = Field(0.1, ge=0, description="range of the ends of boxes, in parts of their sides")
    refine: float = Field(1.0, ge=0, description="2 GIoU + 5 L1 of rough boxes made tight, in sides of the rough ones")
    rough: float = Field(0.4, ge=0, description="how far off rough boxes are: shifts in sides, logarithms of sides")
    warp: float = Field(1.0, ge=0, description="strength of random distortions of what boxes hold")
    cells: float = Field(0.15, gt=0, le=1, description="part of the cells that a step looks at, drawn evenly")
    dense_matching: float = Field(0.5, ge=0, description="of the tokens at all stages but the first; 0: without it")


class LanguageStage(Stage):
    """Sentences about the objects of worlds: response maps, boxes, and which objects they are true of."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clips: LanguageClipSettings = LanguageClipSettings()
        data: LanguageData = LanguageData()
        language_net: LanguageNetSettings = LanguageNetSettings()
        trunk_from: str = Field("none", description="target models whose backbone the trunk begins with, or embedded")
        loss: LanguageLoss = LanguageLoss()

    unused_weights = True

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = LanguageNetwork(settings.language_net)
        if settings.trunk_from != "none":
            self.net.trunk.start_from(_trained_backbone(settings.trunk_from))
            self.net.trunk.keep()
        self.net.trunk.to(memory_format=torch.channels_last)

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"language": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        clips = language_clips(self.settings.clips, self.dry_run, rank, world_size)
        make = partial(draw_frames, clips=clips, data=data, tokenizer=self.net.text.tokenizer)
        return endless_batches(make, self.seed, data.clips, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of `LanguageLoss`, and of how many sentences the right object has the highest score."""
        weights = self.settings.loss
        flat = {name: value.flatten(0, 1) for name, value in batch.items()}
        if self.settings.trunk_from != "none":
            self.net.trunk.kept().eval()
        boxes = flat["visible_boxes"]
        spread = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
        flat["visible_boxes"] = boxes + (torch.rand_like(boxes) - 0.5) * weights.jitter * spread
        images, before = (flat[name].float() / 255 for name in ("images", "before"))
        change = torch.cat([images, change_of(images, before, flat["moves"])], 1)
        held = self.net.hold_in(change, flat["visible_boxes"], weights.warp)
        looks, right = aspect_loss(held.aspects, flat)
        refine, tight = self._refined(change, flat["clear"], boxes)
        spoken = dict.fromkeys(_SPOKEN, looks.new_zeros(()))
        speaks, total = step >= weights.looks_first or self.dry_run, weights.aspects * looks + weights.refine * refine
        if speaks or step % weights.cells_every == 0:
            seen = self.net.see(images.contiguous(memory_format=torch.channels_last), before, flat["moves"])
            cells, _ = aspect_loss(cell_aspects(seen, flat, self.net.stride), flat)
            total = total + weights.aspects * cells
            if speaks:
                spoken = self._spoken(seen, held, batch)
                total = total + spoken.pop("total")
        return total, {f"right_{name}": value for name, value in right.items()} | {
            "aspects": looks,
            "tight": tight,
        } | spoken

    def _refined(self, images: Tensor, clear: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of rough boxes made tight, and their mean generalised IoU behind one look."""
        image, row = clear.nonzero(as_tuple=True)
        true = boxes[image, row]
        if not len(true):
            return boxes.new_zeros(()), boxes.new_zeros(())
        sides, off = true[:, 2:] - true[:, :2], self.settings.loss.rough * torch.randn_like(true) / 2
        middle = (true[:, :2] + true[:, 2:]) / 2 + off[:, :2] * sides
        half = sides * off[:, 2:].exp() / 2
        rough = torch.cat([middle - half, middle + half], 1)
        found = self.net.refiner(images, rough, image)
        unit = (2 * half).repeat(1, 2)
        apart = giou(found, true).mean()
        return 2 * apart + 5 * ((found - true) / unit).abs().mean(), 1 - apart.detach()

    def _spoken(self, seen: Seen, held: Boxes, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of the sentences, by name, and their weighted ``total``."""
        weights = self.settings.loss
        sentences = batch["ids"].shape[2]
        flat = {name: value.flatten(0, 1) for name, value in batch.items()}
        rows = len(flat["ids"]) * sentences
        image = torch.arange(rows, device=seen.tokens.device) // sentences
        template, given = self._templates(seen, flat, image)
        ids = flat["ids"].flatten(0, 1)
        words = self.net.text.start(ids[:, : int((ids != self.net.text.nothing).sum(1).max())])
        count = seen.tokens.shape[1]
        cells = torch.randperm(count, device=image.device)[: max(1, round(weights.cells * count))]
        found = self.net.respond(seen, words, image, template, given, held, cells)
        truth = {name: flat[name][image] for name in ("boxes", "clear", "there", "instance")}
        truth["true"] = flat["true"].flatten(0, 1)
        match, chosen = match_loss(found.of_boxes, truth)
        middle, box = place_loss(found, truth, self.net.stride)
        cell = cell_loss(found.match, spoken_of(truth, seen.size, self.net.stride)[:, cells])
        total = weights.match * (match + cell) + weights.middle * middle + weights.box * box
        dense = dict.fromkeys(("dm_bce", "dm_nce"), match.new_zeros(()))
        if weights.dense_matching:
            dense_target = spoken_of(truth, seen.size, self.net.stride)[:, cells]
            target = torch.cat([(truth["true"] & truth["clear"]).float(), dense_target], 1)
            same = _same_truth(truth["true"] & truth["clear"], flat["codes"][image])
            dense = self.net.matching.loss(found.stages, target, same, first=min(1, len(found.stages) - 1))
            total = total + weights.dense_matching * (dense["dm_bce"] + dense["dm_nce"])
        return {"total": total, "match": match, "cell": cell, "middle": middle, "box": box, **dense, "chosen": chosen}

    def _templates(self, seen: Seen, flat: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
        """Template tokens from the other frame of each clip, and which sentences have one."""
        which = flat["template"].flatten()
        other = image ^ 1  # the frames of a clip lie side by side
        boxes = flat["boxes"][other, which.clamp(min=0)]
        return self.net.template_tokens(seen, boxes, other), which >= 0

    def validate(self) -> dict[str, float]:
        """Figures of ``eval language`` on held-out worlds, see `evaluation.language`."""
        from scenegraph_track.evaluation.language import measure_network

        return measure_network(self.net, self._held_out)

    @cached_property
    def _held_out(self) -> list[Any]:
        from scenegraph_track.evaluation.language_scenes import language_scenes

        wanted = 2 if self.dry_run else self.settings.data.validation_clips
        return language_scenes("val", wanted, self.settings.clips.size)


def aspect_loss(aspects: Tensor, truth: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross entropy of what clear objects are told to look like, (B, K, A), and shares that are told right."""
    kept = truth["clear"]
    losses: list[Tensor] = []
    right: dict[str, Tensor] = {}
    for name, logits in zip(ASPECTS, aspects[kept].split([len(answers) for answers in ASPECTS.values()], 1)):
        codes = truth["codes"][..., ATTRIBUTES.index(name)][kept]
        known = codes >= 0
        count = known.sum().clamp(min=1)
        error = cross_entropy(logits, codes.clamp(min=0), reduction="none")
        losses.append((error * known).sum() / count)
        right[name] = ((logits.argmax(1) == codes) & known).sum() / count
    return torch.stack(losses).sum(), right


def cell_aspects(seen: Seen, truth: dict[str, Tensor], stride: int) -> Tensor:
    """(B, K, A) mean logits of the cells that objects cover."""
    weights = coverage(truth["instance"], truth["clear"].shape[1], stride)[..., : seen.size[0], : seen.size[1]].flatten(
        2
    )
    return torch.einsum("bna,bkn->bka", seen.aspects, weights / weights.sum(2, keepdim=True).clamp(min=1e-6))


def coverage(instance: Tensor, objects: int, stride: int) -> Tensor:
    """(B, K, h, w) part of each cell that each object covers.

    Args:
        instance: (B, H', W') numbers of objects from 1, `FINER` pixels a cell.
        objects: K.
        stride: Pixels of a cell.
    """
    masks = one_hot(instance.long(), objects + 1)[..., 1:].permute(0, 3, 1, 2).float()
    return avg_pool2d(masks, stride // FINER, ceil_mode=True)


def spoken_of(truth: dict[str, Tensor], size: tuple[int, int], stride: int) -> Tensor:
    """(R, N) how much of each token a sentence speaks of."""
    covered = coverage(truth["instance"], truth["true"].shape[1], stride)[..., : size[0], : size[1]]
    return torch.einsum("rkhw,rk->rhw", covered, truth["true"].float()).flatten(1).clamp(max=1)


def match_loss(scores: Tensor, truth: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross entropies: of each object by itself, and of all objects and nothing (logit 0) against each other.

    Returns:
        Their sum, and the share of sentences whose choice is right.
    """
    there, true = truth["there"], truth["true"] & truth["there"]
    each = binary_cross_entropy_with_logits(scores, true.float(), reduction="none")
    positive, negative = true & truth["clear"], there & ~true
    balanced = each[positive].sum() / positive.sum().clamp(min=1) + each[negative].sum() / negative.sum().clamp(min=1)
    choices = torch.cat([scores.masked_fill(~there, -torch.inf), scores.new_zeros(len(scores), 1)], 1)
    answer = torch.cat([true & truth["clear"], ~true.any(1, keepdim=True)], 1)
    told = answer.any(1)
    log = choices.log_softmax(1).masked_fill(~answer, -torch.inf)[told].logsumexp(1)
    right = answer[told].gather(1, choices[told].argmax(1, keepdim=True)).float().mean()
    return balanced / 2 - log.mean(), right


def cell_loss(match: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of cells (R, N): half of it of those that a sentence speaks of, half of the others."""
    each = binary_cross_entropy_with_logits(match, target, reduction="none")
    return ((each * target).sum() / target.sum().clamp(min=1) + (each * (1 - target)).mean()) / 2


def place_loss(found: Response, truth: dict[str, Tensor], stride: int) -> tuple[Tensor, Tensor]:
    """Focal loss of the map of middles, and 2 GIoU + 5 L1 of the boxes in the cells of the middles."""
    height, width = found.grid
    chosen = truth["true"] & truth["clear"]
    each = gaussian_maps(truth["boxes"], found.grid, stride, _SPREAD, snapped=True).flatten(2)[..., found.cells]
    label = (each * chosen[..., None]).amax(1)
    row, thing, cell = torch.nonzero((each == 1) & chosen[..., None], as_tuple=True)
    scale = truth["boxes"].new_tensor([width, height, width, height]) * stride
    boxes, wanted = found.boxes[row, cell], truth["boxes"][row, thing] / scale
    count = max(len(boxes), 1)
    error = 2 * giou(boxes, wanted).sum() / count + 5 * (boxes - wanted).abs().mean(1).sum() / count
    return focal(found.score, label), error


def _same_truth(chosen: Tensor, codes: Tensor) -> Tensor:
    """(R, R) bool, whether the targets of two sentences look the same in colour and shape."""
    first = chosen.float().argmax(1)
    looks = codes[torch.arange(len(codes)), first]
    return (looks[:, None, [0, 2]] == looks[None, :, [0, 2]]).all(-1)


def _trained_backbone(name: str) -> Any:
    from scenegraph_track.target.embedded import target_network

    return target_network(None if name == "embedded" else name).backbone
