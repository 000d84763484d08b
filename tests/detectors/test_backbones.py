"""Features of timm networks, on small random ones that are told by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pad

from detectors.backbones import Backbone, TimmBackbone
from detectors.errors import DetectorError

TINY = {"depth": 3, "embed_dim": 32, "num_heads": 2}
DINO, DINOV2, DINOV3 = "vit_small_patch16_224.dino", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"


def _images(height: int, width: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height + width))


def _tiny(name: str = DINO, **more: Any) -> TimmBackbone:
    torch.manual_seed(0)
    options = {**TINY, **more.pop("options", {})}
    return TimmBackbone(name, options=options, **more)


def _normalised(network: nn.Module, images: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(network.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    return (images - mean) / deviation


@pytest.mark.parametrize(("name", "patch"), [(DINO, 16), (DINOV2, 14), (DINOV3, 16), ("vit_small_patch8_224.dino", 8)])
@pytest.mark.parametrize("size", [(64, 96), (61, 75), (5, 130)])
def test_transformers_at_any_size(name: str, patch: int, size: tuple[int, int]) -> None:
    # One cell per started patch: padding is on the right and below, and nothing but the patches is given.
    backbone = _tiny(name)
    assert isinstance(backbone, Backbone) and (backbone.dim, backbone.stride) == (32, patch)
    features = backbone.features(_images(*size))
    assert features.shape == (2, 32, -(-size[0] // patch), -(-size[1] // patch))
    assert features.isfinite().all() and features.std() > 0.1


@pytest.mark.parametrize(
    ("name", "layer", "dim", "stride"),
    [
        ("resnet18", None, 512, 32),
        ("resnet18", 2, 128, 8),
        ("convnext_atto", 1, 80, 8),
        ("efficientnet_b0", 1, 24, 4),
        ("swin_tiny_patch4_window7_224", 1, 192, 8),
        ("sam2_hiera_tiny", 0, 96, 4),
    ],
)
def test_convolutional_and_hierarchical_networks(name: str, layer: int | None, dim: int, stride: int) -> None:
    backbone = TimmBackbone(name, layers=None if layer is None else [layer])
    features = backbone.features(_images(50, 70, 1))
    assert (backbone.dim, backbone.stride) == (dim, stride)
    assert features.shape == (1, dim, -(-50 // stride), -(-70 // stride))


@pytest.mark.parametrize("name", ["vit_*dino*", "convnext_*dino*"])
def test_names_of_dino_are_known_to_timm(name: str) -> None:
    import timm

    known = timm.list_models(name, pretrained=True)
    wanted = {
        "vit_*dino*": {
            "vit_small_patch16_224.dino",
            "vit_small_patch8_224.dino",
            "vit_base_patch8_224.dino",
            "vit_small_patch14_dinov2.lvd142m",
            "vit_base_patch14_reg4_dinov2.lvd142m",
            "vit_small_patch16_dinov3.lvd1689m",
            "vit_base_patch16_dinov3.lvd1689m",
        },
        "convnext_*dino*": {"convnext_tiny.dinov3_lvd1689m"},
    }[name]
    assert wanted <= set(known)


@pytest.mark.parametrize(("name", "prefix", "size"), [(DINO, 1, 64), (DINOV2, 5, 56), (DINOV3, 5, 64)])
def test_last_layer_is_what_timm_gives_without_class_and_register_tokens(name: str, prefix: int, size: int) -> None:
    backbone, images = _tiny(name), _images(size, 2 * size)
    network = backbone.network
    tokens = network.forward_features(_normalised(network, images))
    features = backbone.features(images)
    assert network.num_prefix_tokens == prefix and tokens.shape[1] == prefix + features[0, 0].numel()
    torch.testing.assert_close(features.flatten(2).mT, tokens[:, prefix:])


def test_chosen_layers_are_normalised_and_averaged_and_later_blocks_removed() -> None:
    whole, some = _tiny(), _tiny(layers=[-2, 0])
    some.network.load_state_dict(whole.network.state_dict(), strict=False)
    assert len(whole.network.blocks) == 3 and len(some.network.blocks) == 2
    seen: list[Tensor] = []
    for block in whole.network.blocks[:2]:
        block.register_forward_hook(lambda module, given, found: seen.append(found))
    images = _images(64, 64)
    whole.features(images)
    mean = (whole.network.norm(seen[0]) + whole.network.norm(seen[1]))[:, 1:] / 2
    torch.testing.assert_close(some.features(images).flatten(2).mT, mean)


def test_stage_of_a_convolutional_network_is_that_of_timm() -> None:
    import timm

    backbone = TimmBackbone("resnet18", layers=[3])
    wanted = timm.create_model("resnet18", features_only=True, out_indices=[3]).eval()
    wanted.load_state_dict(backbone.network.state_dict(), strict=False)
    images = _images(64, 96)
    torch.testing.assert_close(backbone.features(images), wanted(_normalised(backbone.network, images))[0])


def test_images_are_padded_with_their_last_row_and_column() -> None:
    backbone, images = _tiny(), _images(61, 75)
    padded = pad(images, (0, 5, 0, 3), mode="replicate")
    assert torch.equal(backbone.features(images), backbone.features(padded))


def test_features_beyond_the_image_are_cut_off() -> None:
    # Stage 1 of ResNet has cells of 4 pixels, but the image is padded to whole cells of the last stage.
    backbone, images = TimmBackbone("resnet18", layers=[1]), _images(50, 70, 1)
    padded = backbone.features(pad(images, (0, 26, 0, 14), mode="replicate"))
    assert padded.shape[2:] == (16, 24)
    assert torch.equal(backbone.features(images), padded[..., :13, :18])


@pytest.mark.parametrize("name", [DINO, "vit_tiny_patch16_224", "vit_base_patch16_clip_224.openai"])
def test_images_are_normalised_as_the_weights_want_it(name: str) -> None:
    wanted = {DINO: 0.485, "vit_tiny_patch16_224": 0.5}.get(name, 0.48145466)
    backbone = _tiny(name)
    assert backbone.mean.flatten()[0].item() == pytest.approx(wanted)
    seen: list[Tensor] = []
    backbone.network.patch_embed.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    backbone.features(backbone.mean.expand(1, 3, 32, 32))
    assert seen[0].abs().max() < 1e-6
    assert not {"mean", "std"} & backbone.state_dict().keys()


def test_frozen_network_stays_in_evaluation_and_passes_gradients_to_the_images() -> None:
    backbone = _tiny(options={"proj_drop_rate": 0.5}).train()
    assert backbone.training and not backbone.network.training
    images = _images(32, 32).requires_grad_()
    assert torch.equal(backbone.features(images), backbone.features(images))
    backbone.features(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(weight.grad is None and not weight.requires_grad for weight in backbone.parameters())


def test_fine_tuned_network_learns_with_and_without_checkpointing() -> None:
    gradients = []
    for checkpointing in (False, True):
        backbone = _tiny(frozen=False, checkpointing=checkpointing).train()
        assert backbone.network.training and backbone.network.grad_checkpointing is checkpointing
        backbone.features(_images(32, 32)).square().mean().backward()
        gradients.append(backbone.network.blocks[0].mlp.fc1.weight.grad)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_weights_of_a_folder_of_timm(tmp_path: Path) -> None:
    import timm

    wanted = timm.create_model(DINO, **TINY).eval()
    timm.models.save_for_hf(wanted, tmp_path, model_args=TINY)
    found = TimmBackbone(DINO, folder=tmp_path)
    images = _images(224, 224, 1)
    tokens = wanted.forward_features(_normalised(wanted, images))[:, 1:]
    torch.testing.assert_close(found.features(images).flatten(2).mT, tokens)
    assert torch.equal(TimmBackbone(f"local-dir:{tmp_path}", pretrained=True).features(images), found.features(images))


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_of_a_checkpoint_with_a_classifier(tmp_path: Path, ending: str) -> None:
    # The classifier is left out; everything else must be there.
    import timm

    wanted = timm.create_model("vit_tiny_patch16_224", num_classes=7, **TINY).eval()
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save({"state_dict": wanted.state_dict(), "epoch": 3}, path)
    else:
        save_file(wanted.state_dict(), path)
    found = _tiny("vit_tiny_patch16_224", folder=path)
    images = _images(224, 224, 1)
    tokens = wanted.forward_features(_normalised(wanted, images))[:, 1:]
    torch.testing.assert_close(found.features(images).flatten(2).mT, tokens)
    assert "state_dict" not in found.network.pretrained_cfg


def test_weights_for_another_image_size(tmp_path: Path) -> None:
    # Position embeddings of 4 x 4 patches are resampled to those of the network, 14 x 14.
    import timm

    save_file(timm.create_model(DINO, img_size=64, **TINY).state_dict(), tmp_path / "small.safetensors")
    backbone = _tiny(folder=tmp_path / "small.safetensors")
    assert backbone.network.pos_embed.shape == (1, 197, 32)
    assert backbone.features(_images(100, 50)).shape == (2, 32, 7, 4)


def test_local_weights_that_do_not_fit(tmp_path: Path) -> None:
    import timm

    tensors = timm.create_model(DINO, **TINY).state_dict()
    incomplete = tmp_path / "incomplete.safetensors"
    save_file({key: value for key, value in tensors.items() if key != "norm.weight"}, incomplete)
    with pytest.raises(DetectorError, match=r"do not fit backbone .*norm.weight"):
        _tiny(folder=incomplete)
    with pytest.raises(DetectorError, match="do not fit backbone resnet18"):
        TimmBackbone("resnet18", folder=incomplete)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    with pytest.raises(DetectorError, match="expected a checkpoint"):
        _tiny(folder=broken)
    with pytest.raises(DetectorError, match="found nothing"):
        _tiny(folder=tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "config.json that names the architecture"),
        ({"architectures": ["Dinov2Model"]}, "config.json that names the architecture"),
        ({"architecture": "resnet18"}, "expected weights of vit_small_patch16_224, found those of resnet18"),
        ({"architecture": "vit_small_patch16_224", "pretrained_cfg": {}}, "do not fit backbone"),
    ],
)
def test_folders_that_are_not_of_this_network(tmp_path: Path, config: Any, message: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DetectorError, match=message):
        TimmBackbone(DINO, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("timm/vit_small_patch16_224.dino", "hf-hub:timm/vit_small_patch16_224.dino"),
        ("hf-hub:timm/vit_small_patch16_224.dino", "hf-hub:timm/vit_small_patch16_224.dino"),
        ("vit_small_patch16_224.dino", "vit_small_patch16_224.dino"),
    ],
)
def test_hub_ids_reach_timm(monkeypatch: pytest.MonkeyPatch, name: str, asked: str) -> None:
    import timm

    create, given = timm.create_model, []

    def recorded(model_name: str, pretrained: bool, **options: Any) -> nn.Module:
        given.append((model_name, pretrained))
        return create(DINO, **options)

    monkeypatch.setattr(timm, "create_model", recorded)
    _tiny(name, pretrained=True)
    assert given == [(asked, True)]


@pytest.mark.parametrize("name", ["timm/vit_small_patch16_224.dino", DINO])
def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def offline(*args: Any, **options: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", offline)
    with pytest.raises(DetectorError, match="check the name and the connection"):
        TimmBackbone(name, pretrained=True, options={} if "/" in name else TINY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vit_small_patch16_dino3"}, "did you mean vit_small_patch16_dinov3"),
        ({"name": "vit_small_patch16_224.nonsense"}, "timm cannot make it"),
        ({"name": DINO, "options": {"depht": 2}}, "depht"),
        ({"name": DINO, "layers": [3], "options": TINY}, "expected layers from -3 to 2"),
        ({"name": DINO, "layers": [], "options": TINY}, "expected layers from -3 to 2"),
        ({"name": "resnet18", "layers": [2, 3]}, "128 channels at 1/8, 256 channels at 1/16"),
        ({"name": "dla46_c", "checkpointing": True}, "cannot compute its activations again"),
        ({"name": "timm/" + DINO, "folder": "here"}, "not both"),
    ],
)
def test_wrong_arguments_in_one_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DetectorError, match=message) as caught:
        TimmBackbone(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (0, 3, 32, 32)])
def test_images_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(DetectorError, match="expected RGB images"):
        _tiny().features(torch.zeros(shape))


def test_bytes_are_no_images() -> None:
    with pytest.raises(DetectorError, match=r"floats in \[0, 1\]"):
        _tiny().features(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_network_of_one_image_size_says_so() -> None:
    with pytest.raises(DetectorError, match="takes images of 224 x 224, found 64 x 64"):
        _tiny("cait_xxs24_224").features(_images(64, 64))
    assert _tiny("cait_xxs24_224", options={"img_size": 64}).features(_images(50, 64)).shape == (2, 32, 4, 4)
