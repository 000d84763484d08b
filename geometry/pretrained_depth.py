"""Adapters to the pretrained depth models of `transformers`: Depth Anything, DPT, ZoeDepth and Depth Pro.

Metric models (ZoeDepth, Depth Pro, Depth Anything's metric ones, DPT on DINOv2) give depth in metres.  Relative models
(DPT, Depth Anything) give inverse depth up to an unknown scale and shift: `align_inverse_depth` finds both from depth
that is known elsewhere, `depth_from_relative` guesses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geometry.errors import GeometryError
from geometry.hub import HubModel

FAR_OVER_NEAR = 10.0
"""Guessed ratio of the far to the near depth of an image, where nothing is known: rooms have about 3, streets 30."""

FARTHEST = 100.0
"""Aligned depth is at most so many times the median of the depth it was aligned to."""

MIN_METRES = 1e-3
"""Metric depth is at least this."""

MIN_POINTS = 32
"""Fewer pixels of known depth align nothing."""

MIN_SIZE = 16
"""Smallest side of an image in pixels."""

_EXAMPLE = "Intel/dpt-large"
_SAMPLES, _PAIRS, _ROUNDS, _TUKEY = 2000, 500, 20, 4.685
_UNUSED_WEIGHTS = re.compile(r"neck\.fusion_stage\.layers\.0\.residual_layer1\.|.*\.mask_token$")


@dataclass(frozen=True, eq=False)
class DepthPrediction:
    """Depth of a batch of images.

    Args:
        depth: (B, 1, H, W) float32 along z, positive and finite: metres from metric models.
        intrinsics_focal_px: (B,) focal lengths in pixels that the model itself estimates; None where it does not.
    """

    depth: Tensor
    intrinsics_focal_px: Tensor | None


def depth_from_relative(inverse: Tensor, far_over_near: float = FAR_OVER_NEAR) -> Tensor:
    """Guess depth from inverse depth of unknown scale and shift, by a rule of thumb.

    The shift is chosen such that the 1st percentile of the inverse depth is ``far_over_near`` times as far as the 99th;
    nothing is farther than that 1st percentile.  The scale is chosen such that the median depth is 1.  The order of
    depths is the model's, their proportions are a guess.

    Args:
        inverse: (B, 1, H, W), larger is nearer.
        far_over_near: Ratio of far to near depth, above 1.

    Returns:
        (B, 1, H, W) positive depth with median 1, the same for every positive scale and every shift of ``inverse``; 1
        everywhere where ``inverse`` is constant.

    Raises:
        GeometryError: The ratio is not above 1.
    """
    if not far_over_near > 1:
        raise GeometryError(f"far_over_near: expected a ratio above 1, found {far_over_near}")
    flat = inverse.flatten(1)
    ordered = flat.sort(1).values
    last = flat.shape[1] - 1
    low, middle, high = (ordered[:, round(share * last), None] for share in (0.01, 0.5, 0.99))
    span = torch.where(high > low, high - low, 1.0)
    shift = 1 / (far_over_near - 1)
    depth = (middle.sub(low) / span + shift) / ((flat - low).clamp_min(0) / span + shift)
    return torch.where(high > low, depth, 1.0).view_as(inverse)


def align_inverse_depth(inverse: Tensor, depth: Tensor, confidence: Tensor) -> tuple[float, float]:
    """Fit ``scale * inverse + shift`` to 1 / depth, by robust weighted least squares.

    It starts from the line through two pixels whose median residual is smallest (least median of squares: up to half of
    the weight may be wrong), then repeats weighted least squares with Tukey's weights (Rousseeuw and Leroy, Robust
    Regression and Outlier Detection, 1987).  The same inputs give the same answer.

    Args:
        inverse: Inverse depth of unknown scale and shift, any shape.
        depth: The same shape, along z, such as `VideoDepth.depth`; 0 where it is not known.
        confidence: The same shape, the weights, such as `VideoDepth.confidence`; 0 where the depth is not to be used.

    Returns:
        Scale (positive) and shift, in one over the unit of ``depth``.

    Raises:
        GeometryError: Shapes differ, too little depth is known, or the known depth does not grow where the inverse
            depth falls.
    """
    if not inverse.shape == depth.shape == confidence.shape:
        shapes = ", ".join(str(tuple(t.shape)) for t in (inverse, depth, confidence))
        raise GeometryError(f"expected inverse depth, depth and confidence of one shape, found {shapes}")
    x, y, w = (t.detach().cpu().double().numpy().ravel() for t in (inverse, depth, confidence))
    known = (y > 0) & (w > 0) & np.isfinite(x) & np.isfinite(y)
    if known.sum() < MIN_POINTS:
        raise GeometryError(f"expected known depth at {MIN_POINTS} pixels or more, found {known.sum()}")
    x, y, w = x[known], 1 / y[known], w[known]
    random = np.random.default_rng(0)
    drawn = random.choice(len(x), _SAMPLES, p=w / w.sum())
    few_x, few_y = x[drawn], y[drawn]
    one, two = random.integers(_SAMPLES, size=(2, _PAIRS))
    run = few_x[one] - few_x[two]
    scales = (few_y[one] - few_y[two])[run != 0] / run[run != 0]
    shifts = few_y[one][run != 0] - scales * few_x[one][run != 0]
    scales, shifts = scales[scales > 0], shifts[scales > 0]
    if not len(scales):
        raise GeometryError("the known depth does not grow where the inverse depth falls: no scale fits both")
    medians = np.median(np.abs(few_y - scales[:, None] * few_x - shifts[:, None]), axis=1)
    scale, shift = scales[medians.argmin()], shifts[medians.argmin()]
    for _ in range(_ROUNDS):
        spread = 1.4826 * np.median(np.abs(few_y - scale * few_x - shift)) + 1e-9 * np.median(y)
        weight = w * np.clip(1 - ((y - scale * x - shift) / (_TUKEY * spread)) ** 2, 0, None) ** 2
        mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
        scale = (weight * (x - mean_x) * (y - mean_y)).sum() / (weight * (x - mean_x) ** 2).sum()
        shift = mean_y - scale * mean_x
    if not (scale > 0 and np.isfinite(shift)):
        raise GeometryError("the known depth does not grow where the inverse depth falls: no scale fits both")
    return float(scale), float(shift)


class PretrainedDepth:
    """A depth model of `transformers`, with its own pre- and post-processing; made by `PretrainedDepth.load`.

    ``metric`` says whether it gives metres, ``kind`` what the network itself gives: "depth" or "inverse".
    """

    def __init__(self, model: Any, processor: Any, metric: bool, source: str) -> None:
        self._model, self._processor, self._source = model.eval().requires_grad_(False), processor, source
        self.metric = metric

    @property
    def kind(self) -> str:
        """ "depth" for metric models, "inverse" for relative ones."""
        return "depth" if self.metric else "inverse"

    @classmethod
    def load(
        cls,
        source: str,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
        metric: bool | None = None,
    ) -> PretrainedDepth:
        """Load a model and its image processor, weights from safetensors only, in float32.

        Args:
            source: Hub id such as "depth-anything/Depth-Anything-V2-Small-hf", or a folder that ``save_pretrained``
                wrote.
            device: Where the model runs.
            revision: Branch, tag or commit on the hub.
            local_files_only: Never ask the hub; use the folder or what was downloaded before.
            metric: Whether the model gives depth in metres rather than relative inverse depth; None to tell from its
                configuration.

        Returns:
            The model, ready to be called.

        Raises:
            GeometryError: There is no such folder or hub model, it is no depth model, or files are missing or broken.
        """
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        files = HubModel(source, _EXAMPLE, GeometryError, revision, local_files_only)
        config = files.config()
        _check_family(source, config)
        metric = _is_metric(config) if metric is None else metric
        if metric is None:
            advice = "say so with metric=True or metric=False"
            raise GeometryError(f"{source}: cannot tell whether a {config.model_type!r} model gives metres: {advice}")
        with files.explained("no usable image processor (preprocessor_config.json)"):
            processor = files.load(AutoImageProcessor)
        model = files.weights(AutoModelForDepthEstimation, config, _UNUSED_WEIGHTS)
        return cls(model.to(device), processor, metric, source)

    def __call__(self, images: Tensor, intrinsics: Tensor | None = None) -> Tensor:
        """Depth (B, 1, H, W) of RGB images (B, 3, H, W), see `predict`."""
        return self.predict(images, intrinsics).depth

    def raw(self, images: Tensor, intrinsics: Tensor | None = None) -> Tensor:
        """What the library itself gives at the size of the images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            intrinsics: (B, 3, 3), see `predict`.

        Returns:
            (B, 1, H, W): depth in metres where ``kind`` is "depth", else inverse depth of unknown scale and shift.
        """
        return self._run(images, intrinsics)[0]

    def predict(
        self,
        images: Tensor,
        intrinsics: Tensor | None = None,
        known_depth: Tensor | None = None,
        confidence: Tensor | None = None,
    ) -> DepthPrediction:
        """Depth along z at the size of the images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], at least 16 x 16 pixels.
            intrinsics: (B, 3, 3) at the size of the images, or None.  Depth Pro takes the focal length from them rather
                than its own estimate; the other models do not use them.
            known_depth: (B, 1, H, W) depth to align the inverse depth of relative models to, image by image, see
                `align_inverse_depth`; None to guess, see `depth_from_relative`.  Metric models do not use it.
            confidence: (B, 1, H, W) of the known depth; None for 1 wherever it is positive.

        Returns:
            Metres from metric models; else the unit of ``known_depth``, or an unknown one with median 1 without it.

        Raises:
            GeometryError: A shape is wrong, depth cannot be aligned, or the model's answer is not finite.
        """
        raw, focal = self._run(images, intrinsics)
        if self.metric:
            return DepthPrediction(raw.clamp_min(MIN_METRES), focal)
        if known_depth is None:
            return DepthPrediction(depth_from_relative(raw), focal)
        confidence = (known_depth > 0).float() if confidence is None else confidence
        if not known_depth.shape == confidence.shape == raw.shape:
            shapes = f"{tuple(known_depth.shape)} and {tuple(confidence.shape)}"
            raise GeometryError(f"expected known depth and confidence {tuple(raw.shape)}, found {shapes}")
        depth = torch.empty_like(raw)
        for k in range(len(raw)):
            scale, shift = align_inverse_depth(raw[k], known_depth[k], confidence[k])
            farthest = FARTHEST * float(known_depth[k][(known_depth[k] > 0) & (confidence[k] > 0)].median())
            depth[k] = 1 / (scale * raw[k] + shift).clamp_min(1 / farthest)
        return DepthPrediction(depth, focal)

    def _run(self, images: Tensor, intrinsics: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if images.ndim != 4 or images.shape[1] != 3 or not len(images) or min(images.shape[2:]) < MIN_SIZE:
            shape = f"images (B, 3, H, W) of at least {MIN_SIZE} x {MIN_SIZE} pixels"
            raise GeometryError(f"expected RGB {shape}, found {tuple(images.shape)}")
        if not images.is_floating_point():
            raise GeometryError(f"expected images as floats in [0, 1], found {images.dtype}")
        if intrinsics is not None and intrinsics.shape != (len(images), 3, 3):
            raise GeometryError(f"expected intrinsics {(len(images), 3, 3)}, found {tuple(intrinsics.shape)}")
        # ZoeDepth with two heads lets the whole batch vote for one of them.
        step = 1 if len(getattr(self._model.config, "bin_configurations", ())) > 1 else len(images)
        parts = [
            self._forward(images[k : k + step], None if intrinsics is None else intrinsics[k : k + step])
            for k in range(0, len(images), step)
        ]
        raw = torch.cat([part for part, _ in parts]).to(images.device)
        if not raw.isfinite().all():
            raise GeometryError(f"{self._source}: depth is not finite: look for such values in the images or weights")
        focal = None if parts[0][1] is None else torch.cat([part for _, part in parts]).to(images.device)
        return raw, focal

    @torch.no_grad()
    def _forward(self, images: Tensor, intrinsics: Tensor | None) -> tuple[Tensor, Tensor | None]:
        height, width = images.shape[2:]
        device = self._model.device
        # Processors expect 0 to 255; not all of them divide by 255 themselves.
        pixels = list(images.to(device, torch.float32) * 255)
        inputs = self._processor(images=pixels, input_data_format="channels_first", return_tensors="pt")
        outputs = self._model(pixel_values=inputs["pixel_values"].to(device))
        focal = None
        if self._model.config.model_type == "depth_pro":
            if outputs.field_of_view is not None:
                focal = width / 2 / torch.tan(torch.deg2rad(outputs.field_of_view) / 2)
            elif intrinsics is None:
                raise GeometryError(f"{self._source} does not estimate the field of view: give it the intrinsics")
            if intrinsics is not None:
                given = intrinsics[:, 0, 0].to(device, torch.float32)
                outputs.field_of_view = torch.rad2deg(2 * torch.atan(width / 2 / given))
        left, top, padded = self._padding(height, width)
        found = self._processor.post_process_depth_estimation(outputs, [padded] * len(images))
        depth = torch.stack([one["predicted_depth"] for one in found])[:, None]
        return depth[..., top : top + height, left : left + width].float(), focal

    def _padding(self, height: int, width: int) -> tuple[int, int, tuple[int, int]]:
        """Pixels that the processor of DPT on DINOv2 adds left and above and never cuts off, and the size with them."""
        processor = self._processor
        divisor = getattr(processor, "size_divisor", None) if getattr(processor, "do_pad", False) else None
        if divisor is None or processor.do_resize:
            return 0, 0, (height, width)
        down, right = -height % divisor, -width % divisor
        return right // 2, down // 2, (height + down, width + right)


def _check_family(source: str, config: Any) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES as FAMILIES

    made_for = config.architectures or [FAMILIES.get(config.model_type, "")]
    if config.model_type not in FAMILIES or FAMILIES[config.model_type] not in made_for:
        found = made_for[0] or config.model_type
        raise GeometryError(f"{source}: expected a depth model such as {_EXAMPLE}, found {found!r}")


def _is_metric(config: Any) -> bool | None:
    """Whether a model gives metres; None for families that are not known here."""
    if config.model_type == "depth_anything":
        return config.depth_estimation_type == "metric"
    if config.model_type == "dpt":
        return getattr(config.backbone_config, "model_type", None) == "dinov2"
    return True if config.model_type in ("zoedepth", "depth_pro") else None
