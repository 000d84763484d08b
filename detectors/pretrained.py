"""Adapters to the pretrained object detectors of `transformers`.

RT-DETR, RT-DETRv2, D-FINE, DETR, RF-DETR and their kin find the classes they were trained on; Grounding DINO, OWLv2 and
OWL-ViT find what a text names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detectors.errors import DetectorError
from detectors.proposals import Proposals
from geometry.hub import HubModel

_GROUNDED = ("grounding-dino", "mm-grounding-dino")
_TEXT_FAMILIES = (*_GROUNDED, "owlv2", "owlvit")
_EXAMPLE = "PekingU/rtdetr_v2_r18vd"
_SEPARATOR = "."
_UNUSED_WEIGHTS = re.compile(r".*(\.num_batches_tracked|\.mask_token|denoising_class_embed\.weight)$")


class TransformersDetector:
    """An object detector of `transformers`, with its own pre- and post-processing; made by `load`.

    Attributes:
        names: Class name of each class number it can give.
        threshold: Only objects with a higher score are given.
        classes: Class numbers that are given; None for all.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        source: str,
        names: dict[int, str],
        threshold: float = 0.5,
        classes: frozenset[int] | None = None,
        text: dict[str, Tensor] | None = None,
    ) -> None:
        self._model, self._processor, self._source = model.eval().requires_grad_(False), processor, source
        self.names, self.threshold, self.classes, self._text = names, threshold, classes, text or {}

    @classmethod
    def load(
        cls,
        source: str | Path,
        threshold: float = 0.5,
        classes: Sequence[str | int] | None = None,
        text: Sequence[str] | None = None,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> TransformersDetector:
        """Load a detector and its processor, weights from safetensors only, in float32.

        Args:
            source: Hub id such as "PekingU/rtdetr_v2_r18vd" or "IDEA-Research/grounding-dino-tiny", or a folder that
                ``save_pretrained`` wrote.
            threshold: Only objects with a higher score are given, in [0, 1).
            classes: Names (in any case) or numbers of the classes to give; None for all.
            text: What a detector that reads text looks for, such as ["a cat", "a remote control"], in the order of the
                class numbers it gives; None for detectors with classes of their own.
            device: Where the model runs.
            revision: Branch, tag or commit on the hub.
            local_files_only: Never ask the hub; use the folder or what was downloaded before.

        Returns:
            The detector, ready to be called.

        Raises:
            DetectorError: There is no such folder or hub model, it is no detector of a known family, files are missing
                or broken, a class is unknown, or text is missing or superfluous.
        """
        from transformers import (
            AutoImageProcessor,
            AutoModelForObjectDetection,
            AutoModelForZeroShotObjectDetection,
            AutoProcessor,
        )

        source = str(source)
        if not 0 <= threshold < 1:
            raise DetectorError(f"threshold: expected a number in [0, 1), found {threshold}")
        files = HubModel(source, _EXAMPLE, DetectorError, revision, local_files_only)
        config = files.config()
        reads_text = _reads_text(source, config)
        names = _names(source, config, text, reads_text)
        chosen = None if classes is None else _chosen(source, classes, names)
        with files.explained(f"no usable processor (preprocessor_config.json{' and tokenizer' * reads_text})"):
            processor = files.load(AutoProcessor if reads_text else AutoImageProcessor)
            tokens = _tokens(source, config, processor, list(names.values())) if reads_text else None
        if not hasattr(processor, f"post_process_{'grounded_' * reads_text}object_detection"):
            raise DetectorError(f"{source}: its {type(processor).__name__} is no processor of a detector")
        kind = AutoModelForZeroShotObjectDetection if reads_text else AutoModelForObjectDetection
        model = files.weights(kind, config, _UNUSED_WEIGHTS)
        return cls(model.to(device), processor, source, names, threshold, chosen, tokens)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Proposals:
        """Find the objects of an image.

        Args:
            image: (3, H, W) RGB in [0, 1].

        Returns:
            Boxes within the image, scores and classes, the surest first; a box that the model gives to several classes
            appears once, with the surest of those that are asked for.

        Raises:
            DetectorError: The image has another shape or type, or the model's answer is not finite.
        """
        if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape or not image.is_floating_point():
            found = f"{tuple(image.shape)} {image.dtype}"
            raise DetectorError(f"expected an RGB image (3, H, W) as floats in [0, 1], found {found}")
        boxes, scores, labels = self._detect(image)
        height, width = image.shape[1:]
        boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
        keep = (boxes[:, 2:] > boxes[:, :2]).all(1)
        if self.classes is not None:
            keep &= torch.isin(labels, torch.tensor(sorted(self.classes), device=labels.device))
        order = scores[keep].argsort(descending=True, stable=True)
        boxes, scores, labels = (part[keep][order].to(image.device) for part in (boxes, scores, labels))
        first: dict[tuple[float, ...], int] = {}
        for row, box in enumerate(boxes.tolist()):
            first.setdefault(tuple(box), row)
        rows = list(first.values())
        return Proposals(
            boxes=boxes[rows].float(), scores=scores[rows].float().clamp(0, 1), classes=labels[rows].long()
        )

    def _detect(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and class numbers as the library gives them."""
        device, size = self._model.device, [tuple(image.shape[1:])]
        # Processors expect 0 to 255.
        pixels = image.to(device, torch.float32) * 255
        images = getattr(self._processor, "image_processor", self._processor)
        inputs = images(images=[pixels], input_data_format="channels_first", return_tensors="pt").to(device)
        text = {key: value.to(device) for key, value in self._text.items()}
        outputs = self._model(**inputs, **text)
        if not outputs.pred_boxes.isfinite().all() or outputs.logits.isnan().any():
            raise DetectorError(f"{self._source}: boxes are not finite: look for such values in the image or weights")
        if not text:
            found = self._processor.post_process_object_detection(outputs, self.threshold, size)[0]
            return found["boxes"], found["scores"], found["labels"]
        options = {"threshold": self.threshold, "target_sizes": size}
        found = self._processor.post_process_grounded_object_detection(outputs, **options)[0]
        if self._model.config.model_type in _GROUNDED:
            return found["boxes"], found["scores"], self._phrases(outputs.logits[0], text["input_ids"][0])
        return found["boxes"], found["scores"], found["labels"]

    def _phrases(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Which phrase the surest token of every box above the threshold belongs to.

        Args:
            logits: (Q, L) of the boxes and tokens, with L at least the tokens of the text.
            tokens: Those tokens; a separator follows each phrase.
        """
        probability = logits.sigmoid()
        probability = probability[probability.amax(1) > self.threshold, : len(tokens)]
        tokenizer = self._processor.tokenizer
        separator = tokens == tokenizer.convert_tokens_to_ids(_SEPARATOR)
        special = torch.isin(tokens, tokens.new_tensor(tokenizer.all_special_ids)) & (tokens != tokenizer.unk_token_id)
        surest = probability.masked_fill(separator | special, -1).argmax(1)
        return (separator.cumsum(0) - separator.long())[surest]


def _reads_text(source: str, config: Any) -> bool:
    """Whether the detector looks for what a text names rather than for classes of its own."""
    from transformers.models.auto import modeling_auto

    families = dict(modeling_auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES)
    readers = modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES
    families |= {family: readers[family] for family in _TEXT_FAMILIES if family in readers}
    made_for = config.architectures or [families.get(config.model_type, "")]
    if families.get(config.model_type) not in made_for:
        found = made_for[0] or config.model_type
        raise DetectorError(f"{source}: expected a detector such as {_EXAMPLE}, found {found!r}")
    return config.model_type in _TEXT_FAMILIES


def _names(source: str, config: Any, text: Sequence[str] | None, reads_text: bool) -> dict[int, str]:
    if not reads_text:
        if text is not None:
            raise DetectorError(f"{source}: finds the classes it was trained on: give classes rather than text")
        return {int(number): str(name) for number, name in config.id2label.items()}
    if isinstance(text, str) or not text or not all(isinstance(phrase, str) for phrase in text):
        raise DetectorError(f"{source}: finds what a text names: give it a list such as text=['a cat', 'a dog']")
    phrases = [phrase.strip() for phrase in text]
    if not all(phrases) or any(_SEPARATOR in phrase for phrase in phrases):
        raise DetectorError(f"{source}: expected phrases without full stops, found {', '.join(map(repr, text))}")
    return dict(enumerate(phrases))


def _chosen(source: str, classes: Sequence[str | int], names: dict[int, str]) -> frozenset[int]:
    """Class numbers of names and numbers."""
    numbers: dict[str, list[int]] = {}
    for number, name in names.items():
        numbers.setdefault(name.casefold(), []).append(number)
    chosen = set()
    for wanted in [classes] if isinstance(classes, str) else classes:
        found = [wanted] if wanted in names else numbers.get(str(wanted).casefold())
        if not found:
            known = ", ".join(list(names.values())[:10]) + ", ..." * (len(names) > 10)
            raise DetectorError(f"{source}: expected classes out of {known}; found {wanted!r}")
        chosen.update(found)
    return frozenset(chosen)


def _tokens(source: str, config: Any, processor: Any, phrases: list[str]) -> dict[str, Tensor]:
    """The text as the model wants it."""
    tokens = dict(processor(text=[phrases], return_tensors="pt"))
    length = tokens["input_ids"].shape[1]
    grounded = config.model_type in _GROUNDED
    longest = config.max_text_len if grounded else config.text_config.max_position_embeddings
    if length > longest:
        what = "text" if grounded else "longest phrase"
        raise DetectorError(f"{source}: the {what} has {length} tokens, and may have {longest}")
    return tokens
