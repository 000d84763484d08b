"""Dense features of images: any network of ``timm`` behind one interface, such as DINO, DINOv2 and DINOv3 by name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from detectors.errors import DetectorError
from geometry.layers import pad_to

_NOT_NORMALISED = ("hiera", "vision_transformer_sam")
"""Families of timm that refuse to normalise features, or put a neck of other channels in its place."""


@runtime_checkable
class Backbone(Protocol):
    """What gives features of images: cell (i, j) describes the square of ``stride`` pixels at (i, j) * ``stride``."""

    dim: int
    stride: int

    def features(self, images: Tensor) -> Tensor:
        """Features (B, dim, ceil(H / stride), ceil(W / stride)) of RGB images (B, 3, H, W) in [0, 1]."""
        ...


class TimmBackbone(nn.Module):
    """Features of a ``timm`` network, vision transformer or convolutional, at any image size.

    Position embeddings are resampled to the image where the network can; images are padded on the right and below by
    their last column and row to whole patches, and what lies outside the image is cut off the features.  Class and
    register tokens are dropped.  Images are normalised as the weights want it (``pretrained_cfg``).

    Args:
        name: Network and weights as ``timm.list_models`` names them, such as "vit_small_patch16_224.dino",
            "vit_small_patch14_dinov2.lvd142m" or "vit_small_patch16_dinov3.lvd1689m"; or a hub id, such as
            "timm/vit_small_patch16_224.dino" or "hf-hub:timm/vit_small_patch16_224.dino".
        pretrained: Whether its weights are fetched.
        folder: Weights to load instead: a folder that ``timm.models.save_for_hf`` wrote, or a checkpoint
            (.safetensors, .pth) of the network in timm's own format.
        layers: Blocks or stages whose features, after the final normalisation, are averaged, from 0, negative ones from
            the end; the last alone where None.  Blocks behind the last of them are removed.
        frozen: Whether the network keeps its weights, and its statistics and dropout stay as in evaluation.
        checkpointing: Whether activations are computed again in the backward pass to save memory.
        options: Passed to ``timm.create_model``.

    Attributes:
        dim: Channels of the features.
        stride: Pixels of the image per cell.

    Raises:
        DetectorError: There is no such network or weights, they do not fit, or the layers do not exist or differ in
            size.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        folder: str | Path | None = None,
        layers: Sequence[int] | None = None,
        frozen: bool = True,
        checkpointing: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.frozen = name, frozen
        options = dict(options or {})
        network, flexible = _network(name, pretrained, folder, options)
        if not hasattr(network, "forward_intermediates"):
            raise DetectorError(f"backbone {name}: timm cannot give its features")
        stages = [(stage["num_chs"], stage["reduction"]) for stage in _stages(network)]
        chosen = _chosen(name, layers, len(stages))
        if len({stages[k] for k in chosen}) > 1:
            sizes = ", ".join(f"{dim} channels at 1/{stride}" for dim, stride in (stages[k] for k in chosen))
            raise DetectorError(f"backbone {name}: only layers of one size can be averaged, found {sizes}")
        self.dim, self.stride = stages[chosen[0]]
        self._multiple = max(stride for _, stride in stages)
        self._layers = network.prune_intermediate_layers(chosen, prune_norm=False, prune_head=True) or chosen
        self._norm = not any(family in type(network).__module__ for family in _NOT_NORMALISED)

        config = network.pretrained_cfg
        self._size = None
        if config.get("fixed_input_size") and not flexible:
            size = options.get("img_size", config["input_size"][1:])
            self._size = (size, size) if isinstance(size, int) else tuple(size)
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(config[key])[:, None, None], persistent=False)
        if checkpointing:
            try:
                network.set_grad_checkpointing(True)
            except (AssertionError, AttributeError) as error:
                raise DetectorError(f"backbone {name}: timm cannot compute its activations again") from error
        self.network = network.requires_grad_(not frozen)
        self.train(self.training)

    def features(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].

        Returns:
            (B, dim, h, w) with h = ceil(H / stride) and w = ceil(W / stride).

        Raises:
            DetectorError: The images have another shape or type, or the network takes only images of another size.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape or not images.is_floating_point():
            found = f"{tuple(images.shape)} {images.dtype}"
            raise DetectorError(f"expected RGB images (B, 3, H, W) as floats in [0, 1], found {found}")
        height, width = images.shape[2:]
        padded = pad_to((images - self.mean) / self.std, self._multiple)
        try:
            found = self.network.forward_intermediates(
                padded, indices=self._layers, norm=self._norm, stop_early=True, intermediates_only=True
            )
        except (AssertionError, RuntimeError) as error:
            height, width = padded.shape[2:]
            if self._size in (None, (height, width)):
                raise
            found = f"takes images of {self._size[0]} x {self._size[1]}, found {height} x {width}"
            advice = "resize them, or give img_size in its options"
            raise DetectorError(f"backbone {self.name}: {found}: {advice}") from error
        mean = found[0] if len(found) == 1 else torch.stack(found).mean(0)
        return mean[..., : -(-height // self.stride), : -(-width // self.stride)]

    def forward(self, images: Tensor) -> Tensor:
        """The same as `features`."""
        return self.features(images)

    def train(self, mode: bool = True) -> TimmBackbone:
        """Training or evaluation mode; the network itself stays in evaluation where it is frozen."""
        super().train(mode)
        self.network.train(mode and not self.frozen)
        return self


def _network(
    name: str, pretrained: bool, folder: str | Path | None, options: Mapping[str, Any]
) -> tuple[nn.Module, bool]:
    """The network, and whether it was told to take images of any size."""
    import timm

    known = name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    if "/" in name and not known:
        name, known = f"hf-hub:{name}", True
    if not (known or timm.is_model(name)):
        close = difflib.get_close_matches(name, timm.list_models() + timm.list_pretrained(), n=3)
        advice = f"did you mean {' or '.join(close)}" if close else "see timm.list_models()"
        raise DetectorError(f"backbone {name}: timm knows no such network: {advice}")
    arguments = {"model_name": name, "pretrained": pretrained}
    if folder is not None:
        if known:
            raise DetectorError(f"backbone {name}: give either a hub id or local weights, not both")
        arguments = {"pretrained": True, **_local(name, Path(folder).expanduser())}
    for flexible in ({"dynamic_img_size": True}, {"strict_img_size": False}, {}):
        tried = {**arguments, **flexible, **options}
        try:
            network = timm.create_model(**tried)
        except Exception as error:
            if isinstance(error, TypeError) and any(key in str(error) and key not in options for key in flexible):
                continue
            raise DetectorError(_problem(name, pretrained, folder, error)) from error
        break
    network.pretrained_cfg.pop("state_dict", None)
    return network, bool(tried.get("dynamic_img_size")) or not tried.get("strict_img_size", True)


def _local(name: str, path: Path) -> dict[str, Any]:
    """What ``timm.create_model`` needs to load local weights, strictly."""
    import timm

    architecture = name.partition(".")[0]
    if path.is_dir():
        try:
            found = json.loads((path / "config.json").read_text(encoding="utf-8")).get("architecture")
        except (OSError, ValueError, AttributeError):
            found = None
        if found is None:
            raise DetectorError(f"{path}: expected a folder of timm, with a config.json that names the architecture")
        if found != architecture:
            raise DetectorError(f"{path}: expected weights of {architecture}, found those of {found}")
        return {"model_name": f"local-dir:{path}"}
    if not path.is_file():
        raise DetectorError(f"{path}: expected a folder or checkpoint of backbone {name}, found nothing")
    try:
        tensors = timm.models.load_state_dict(str(path))
    except Exception as error:
        text = f"expected a checkpoint (.safetensors, .pth) with tensors alone: {_brief(error)}"
        raise DetectorError(f"{path}: {text}") from error
    heads = timm.get_pretrained_cfg(name).classifier or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    tensors = {key: value for key, value in tensors.items() if not (heads and key.startswith(heads))}
    overlay = {"state_dict": tensors, "classifier": None}
    return {"model_name": name, "num_classes": 0, "pretrained_cfg_overlay": overlay}


def _problem(name: str, pretrained: bool, folder: str | Path | None, error: Exception) -> str:
    if folder is not None:
        return f"{folder}: the weights do not fit backbone {name}: {_brief(error)}"
    if isinstance(error, OSError):
        advice = "check the name and the connection, or download the weights and give their folder"
        return f"backbone {name}: not to be had from the hub: {advice}"
    return f"backbone {name}: timm cannot make it{' with weights' * pretrained}: {_brief(error)}"


def _brief(error: Exception) -> str:
    """The first two lines of a message, in one."""
    return " ".join((str(error).strip() or type(error).__name__).split("\n")[:2]).replace("\t", "")[:200]


def _stages(network: nn.Module) -> Sequence[Mapping[str, Any]]:
    """Channels and stride of every block or stage."""
    info = network.feature_info
    return getattr(info, "info", info)


def _chosen(name: str, layers: Sequence[int] | None, count: int) -> list[int]:
    """Layers counted from 0, in their order."""
    layers = (-1,) if layers is None else layers
    if not layers or not all(isinstance(k, int) and -count <= k < count for k in layers):
        raise DetectorError(f"backbone {name}: expected layers from {-count} to {count - 1}, found {list(layers)}")
    return sorted({k % count for k in layers})
