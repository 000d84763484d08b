"""Adapters to the depth models of transformers, on tiny random checkpoints that the library itself saved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from geometry.errors import GeometryError
from geometry.pretrained_depth import MIN_METRES, PretrainedDepth, align_inverse_depth, depth_from_relative

HEIGHT, WIDTH = 60, 84
METRIC = {
    "depth_anything": False,
    "depth_anything_metric": True,
    "dpt": False,
    "dpt_dinov2": True,
    "zoedepth": True,
    "zoedepth_two_heads": True,
    "depth_pro": True,
}
LIBRARY_PADS = "dpt_dinov2"
"""The library leaves the padding of this one in its answer, so the adapter differs from it on purpose."""


def _dinov2(**more: Any) -> Any:
    from transformers import Dinov2Config

    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 2, "image_size": 56}
    return Dinov2Config(**{**sizes, **more})


def _depth_anything(kind: str) -> tuple[Any, Any]:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessor

    config = DepthAnythingConfig(
        backbone_config=_dinov2(out_indices=[1, 2, 3, 4], reshape_hidden_states=False),
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else 1,
    )
    size = {"height": 56, "width": 56}
    processor = DPTImageProcessor(size=size, keep_aspect_ratio=True, ensure_multiple_of=14)
    return DepthAnythingForDepthEstimation(config), processor


def _dpt() -> tuple[Any, Any]:
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
    )
    return DPTForDepthEstimation(config), DPTImageProcessor(size={"height": 64, "width": 64})


def _dpt_dinov2() -> tuple[Any, Any]:
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        backbone_config=_dinov2(out_indices=[1, 2, 3, 4], reshape_hidden_states=False),
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
    )
    mean, deviation = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    processor = DPTImageProcessor(
        do_resize=False, do_rescale=False, do_pad=True, size_divisor=14, image_mean=mean, image_std=deviation
    )
    return DPTForDepthEstimation(config), processor


def _zoedepth(*ranges: tuple[str, float]) -> tuple[Any, Any]:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

    backbone = BeitConfig(
        image_size=64,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        num_relative_features=8,
        bottleneck_features=8,
        num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=8,
        bin_configurations=[{"name": n, "n_bins": 8, "min_depth": 0.001, "max_depth": m} for n, m in ranges],
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=16,
        patch_transformer_num_attention_heads=2,
    )
    processor = ZoeDepthImageProcessor(size={"height": 64, "width": 96}, ensure_multiple_of=32)
    return ZoeDepthForDepthEstimation(config), processor


def _depth_pro(field_of_view: bool = True) -> tuple[Any, Any]:
    from transformers import DepthProConfig, DepthProForDepthEstimation, DepthProImageProcessor

    encoder = {"image_size": 16, "patch_size": 4, "num_hidden_layers": 2}
    config = DepthProConfig(
        fusion_hidden_size=16,
        patch_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_feature_dims=[8, 8, 8],
        merge_padding_value=0,
        use_fov_model=field_of_view,
        image_model_config=_dinov2(**encoder),
        patch_model_config=_dinov2(**encoder),
        fov_model_config=_dinov2(**encoder),
    )
    model = DepthProForDepthEstimation(config)
    return model, DepthProImageProcessor(size={"height": 64, "width": 64})


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "depth_anything": lambda: _depth_anything("relative"),
    "depth_anything_metric": lambda: _depth_anything("metric"),
    "dpt": _dpt,
    "dpt_dinov2": _dpt_dinov2,
    "zoedepth": lambda: _zoedepth(("nyu", 10.0)),
    "zoedepth_two_heads": lambda: _zoedepth(("nyu", 10.0), ("kitti", 80.0)),
    "depth_pro": _depth_pro,
    "depth_pro_without_field_of_view": lambda: _depth_pro(False),
}


def _images(count: int = 2) -> Tensor:
    """Smooth random images, the first dark, the second light."""
    random = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 5, 7, generator=random)
    images = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
    return images * 0.5 + 0.5 * (torch.arange(count) % 2)[:, None, None, None]


def _spread(model: Any, processor: Any) -> None:
    """Give a new model weights with which its answers differ from pixel to pixel and from image to image."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 1.4 / weight[0].numel() ** 0.5, generator=random)
            elif name.endswith("bias"):
                weight.normal_(0, 0.2, generator=random)
        if getattr(model, "fov_model", None) is not None:
            model.fov_model.head.layers[-1].bias.fill_(60.0)
        if len(getattr(model.config, "bin_configurations", ())) > 1:
            inputs = processor(images=list(_images() * 255), return_tensors="pt")
            logits = model.eval()(**inputs).domain_logits
            model.metric_head.mlp_classifier.linear2.bias.sub_(logits.mean(0))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny checkpoint, saved in the library's own format."""
    root = tmp_path_factory.mktemp("depth_models")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            torch.manual_seed(0)
            model, processor = BUILDERS[name]()
            _spread(model, processor)
            model.save_pretrained(root / name)
            processor.save_pretrained(root / name)
        return root / name

    return folder


@pytest.fixture
def copied(saved: Callable[[str], Path], tmp_path: Path) -> Path:
    """A checkpoint of Depth Anything that a test may break."""
    return Path(shutil.copytree(saved("depth_anything"), tmp_path / "model"))


@torch.no_grad()
def _by_hand(folder: Path, images: Tensor) -> tuple[list[dict[str, Any]], Any]:
    """The answer of the library, driven without the adapter, and the raw output of its model."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForDepthEstimation.from_pretrained(folder).eval()
    outputs = model(**processor(images=list(images * 255), return_tensors="pt"))
    name = "source_sizes" if model.config.model_type == "zoedepth" else "target_sizes"
    sizes = {name: [tuple(images.shape[2:])] * len(images)}
    return processor.post_process_depth_estimation(outputs, **sizes), outputs


@pytest.mark.parametrize("name", METRIC)
def test_depth_of_every_family(saved: Callable[[str], Path], name: str) -> None:
    # Relative and metric are told apart; depth has the image's size, is positive, finite and no constant.
    model = PretrainedDepth.load(str(saved(name)))
    assert model.metric is METRIC[name] and model.kind == ("depth" if METRIC[name] else "inverse")
    images = _images()
    depth = model(images)
    assert depth.shape == (2, 1, HEIGHT, WIDTH) and depth.dtype == torch.float32
    assert depth.isfinite().all() and (depth > 0).all() and not depth.requires_grad
    assert (depth.flatten(1).std(1) > 1e-3 * depth.flatten(1).mean(1)).all()
    raw = model.raw(images)
    assert torch.equal(depth, raw.clamp_min(MIN_METRES) if METRIC[name] else depth_from_relative(raw))


@pytest.mark.parametrize("name", sorted(METRIC.keys() - {LIBRARY_PADS}))
def test_same_as_the_library(saved: Callable[[str], Path], name: str) -> None:
    # One image at a time, since ZoeDepth with two heads treats a batch as one vote.
    model = PretrainedDepth.load(str(saved(name)))
    for image in _images()[:, None]:
        wanted = _by_hand(saved(name), image)[0][0]["predicted_depth"]
        torch.testing.assert_close(model.raw(image)[0, 0], wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", METRIC)
def test_batch_of_two_is_two_single_calls(saved: Callable[[str], Path], name: str) -> None:
    # To rounding: convolutions of other batch sizes add in another order.
    model, images = PretrainedDepth.load(str(saved(name))), _images()
    single = torch.cat([model.raw(images[:1]), model.raw(images[1:])])
    tolerance = 1e-4 * float(single.max() - single.min())
    torch.testing.assert_close(model.raw(images), single, rtol=0, atol=tolerance)


def test_zoedepth_heads_are_chosen_for_each_image(saved: Callable[[str], Path]) -> None:
    # The two images choose different heads; in one batch the library gives both the same head.
    folder, images = saved("zoedepth_two_heads"), _images()
    together, outputs = _by_hand(folder, images)
    assert outputs.domain_logits.argmax(1).tolist() in ([0, 1], [1, 0])
    found = PretrainedDepth.load(str(folder)).raw(images)[:, 0]
    off = (found - torch.stack([one["predicted_depth"] for one in together])).abs().amax((1, 2))
    assert off.min() < 1e-2 < 1e-1 < off.max()


def test_padding_of_dpt_on_dinov2_is_cut_off(saved: Callable[[str], Path]) -> None:
    # 60 x 84 is padded to 70 x 84: the answer is the middle 60 rows, not all 70 squeezed into 60.
    folder, images = saved("dpt_dinov2"), _images()
    answer = _by_hand(folder, images)[1].predicted_depth[:, None]
    padded = torch.nn.functional.interpolate(answer, (70, 84), mode="bicubic")
    torch.testing.assert_close(PretrainedDepth.load(str(folder)).raw(images), padded[:, :, 5:65])


def test_depth_pro_focal_length(saved: Callable[[str], Path]) -> None:
    # Its own estimate is given back; a known focal length takes its place, and depth is proportional to it.
    folder, images = saved("depth_pro"), _images()
    model, wanted = PretrainedDepth.load(str(folder)), _by_hand(folder, images)[0]
    own = model.predict(images)
    focal = torch.stack([one["focal_length"] for one in wanted])
    torch.testing.assert_close(own.intrinsics_focal_px, focal)
    assert (focal > 0).all() and focal[0] != focal[1]

    def intrinsics(focal: Tensor) -> Tensor:
        matrix = torch.eye(3).repeat(2, 1, 1)
        matrix[:, 0, 0] = matrix[:, 1, 1] = focal
        return matrix

    same, twice = (model.predict(images, intrinsics(f * focal)) for f in (1, 2))
    torch.testing.assert_close(same.depth, own.depth)
    clear = own.depth < 1000
    assert clear.float().mean() > 0.5
    torch.testing.assert_close(twice.depth[clear], 2 * own.depth[clear])
    torch.testing.assert_close(twice.intrinsics_focal_px, focal)


def test_depth_pro_without_field_of_view(saved: Callable[[str], Path]) -> None:
    model = PretrainedDepth.load(str(saved("depth_pro_without_field_of_view")))
    with pytest.raises(GeometryError, match="give it the intrinsics"):
        model(_images())
    found = model.predict(_images(), torch.diag(torch.tensor([90.0, 90.0, 1.0])).repeat(2, 1, 1))
    assert found.intrinsics_focal_px is None and (found.depth > 0).all()


def test_other_models_ignore_intrinsics(saved: Callable[[str], Path]) -> None:
    model = PretrainedDepth.load(str(saved("dpt")))
    found = model.predict(_images(), torch.eye(3).repeat(2, 1, 1))
    assert torch.equal(found.depth, model(_images())) and found.intrinsics_focal_px is None


def test_relative_model_aligned_to_known_depth(saved: Callable[[str], Path]) -> None:
    # Depth known in the right half only, made from the model's own inverse depth, comes back everywhere.
    model, images = PretrainedDepth.load(str(saved("depth_anything"))), _images()
    raw = model.raw(images)
    low, high = raw.amin((1, 2, 3), keepdim=True), raw.amax((1, 2, 3), keepdim=True)
    wanted = 1 / (0.1 + (raw - low) / (high - low))
    known = wanted.clone()
    known[..., : WIDTH // 2] = 0
    found = model.predict(images, known_depth=known)
    torch.testing.assert_close(found.depth, wanted, rtol=1e-3, atol=1e-3)
    doubted = torch.where(known > 0, 1.0, 0.0)
    assert torch.equal(model.predict(images, known_depth=known, confidence=doubted).depth, found.depth)
    with pytest.raises(GeometryError, match="known depth at 32 pixels"):
        model.predict(images, known_depth=torch.zeros_like(known))
    with pytest.raises(GeometryError, match="expected known depth and confidence"):
        model.predict(images, known_depth=known[:1])


def test_aligned_depth_ends_somewhere(saved: Callable[[str], Path]) -> None:
    # Where the fitted inverse depth is zero or less, depth is the largest allowed, not negative.
    model, images = PretrainedDepth.load(str(saved("depth_anything"))), _images()
    raw = model.raw(images)
    middle = raw.flatten(1).median(1).values[:, None, None, None]
    known = torch.where(raw > middle, 1 / (raw - middle), 0.0)
    depth = model.predict(images, known_depth=known).depth
    far = 100 * torch.stack([k[k > 0].median() for k in known])
    assert (depth > 0).all()
    torch.testing.assert_close(depth.amax((1, 2, 3)), far)


def _scene(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inverse depth of a network (40, 50) and the true depth: 1 / depth = 0.02 inverse + 0.1."""
    inverse = 10 * torch.rand(40, 50, generator=torch.Generator().manual_seed(seed)).double()
    return inverse, 1 / (0.02 * inverse + 0.1)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_alignment_is_exact_in_spite_of_outliers(share: float) -> None:
    # Wrong depth that agrees with itself: everything wrong lies on one plane.
    inverse, depth = _scene()
    wrong = torch.rand(40, 50, generator=torch.Generator().manual_seed(1)) < share
    scale, shift = align_inverse_depth(inverse, torch.where(wrong, 1.7, depth), torch.ones(40, 50))
    assert scale == pytest.approx(0.02, rel=1e-6) and shift == pytest.approx(0.1, rel=1e-6)


def test_alignment_of_noisy_depth_follows_the_confidence() -> None:
    # Two halves with 2 % noise that disagree by a factor of 2: the fit is that of the more confident one.
    inverse, depth = _scene()
    random = torch.Generator().manual_seed(2)
    depth = depth * (1 + 0.02 * torch.randn(40, 50, generator=random))
    depth[:20] *= 2
    confidence = torch.full((40, 50), 0.9)
    confidence[:20] = 0.2
    scale, shift = align_inverse_depth(inverse, depth, confidence)
    assert scale == pytest.approx(0.02, rel=0.03) and shift == pytest.approx(0.1, rel=0.03)
    scale, shift = align_inverse_depth(inverse, depth, 1.1 - confidence)
    assert scale == pytest.approx(0.01, rel=0.03) and shift == pytest.approx(0.05, rel=0.03)


def test_alignment_averages_noise() -> None:
    # 2000 pixels with 5 % noise: the standard error of least squares is 0.4 %, that of a line through two pixels 2 %.
    errors = []
    for seed in range(5):
        inverse, depth = _scene(seed)
        noise = 0.01 * torch.randn(40, 50, generator=torch.Generator().manual_seed(seed + 10))
        scale, shift = align_inverse_depth(inverse, 1 / (1 / depth + noise), torch.ones(40, 50))
        errors += [scale / 0.02 - 1, shift / 0.1 - 1]
    assert torch.tensor(errors).square().mean().sqrt() < 0.006


def test_alignment_leaves_out_what_is_not_known() -> None:
    inverse, depth = _scene()
    wanted = align_inverse_depth(inverse, depth, torch.ones(40, 50))
    depth[:, :20] = 0
    depth[:, 20:40] = 0.3
    confidence = torch.ones(40, 50)
    confidence[:, 20:40] = 0
    found = align_inverse_depth(inverse, depth, confidence)
    assert found == pytest.approx(wanted, rel=1e-6)
    assert align_inverse_depth(inverse, depth, confidence) == found, "the same inputs give the same answer"


def test_alignment_errors() -> None:
    inverse, depth = _scene()
    with pytest.raises(GeometryError, match="one shape"):
        align_inverse_depth(inverse, depth[:5], torch.ones(40, 50))
    with pytest.raises(GeometryError, match="32 pixels or more, found 20"):
        align_inverse_depth(inverse[:1, :20], depth[:1, :20], torch.ones(1, 20))
    for wrong in (-inverse, torch.ones(40, 50)):
        with pytest.raises(GeometryError, match="no scale fits"):
            align_inverse_depth(wrong, depth, torch.ones(40, 50))


def test_guess_from_relative_depth() -> None:
    # Any positive scale and any shift give the same depth; the order is kept; far over near is as asked for.
    inverse = torch.rand(2, 1, 30, 40, generator=torch.Generator().manual_seed(0)) * 3 - 1
    depth = depth_from_relative(inverse, 5.0)
    torch.testing.assert_close(depth_from_relative(70 * inverse + 4, 5.0), depth, rtol=1e-4, atol=0)
    ordered = depth.flatten(1).sort(1).values
    torch.testing.assert_close(ordered[:, 599:601].mean(1), torch.ones(2), rtol=1e-2, atol=0)
    torch.testing.assert_close(ordered[:, -1] / ordered[:, 12], torch.full((2,), 5.0), rtol=1e-2, atol=0)
    near_first = inverse.flatten(1).argsort(1, descending=True)
    assert (depth.flatten(1).gather(1, near_first).diff(dim=1) >= 0).all()
    assert (depth_from_relative(torch.full((1, 1, 4, 4), 7.0)) == 1).all()
    with pytest.raises(GeometryError, match="above 1"):
        depth_from_relative(inverse, 1.0)


def test_errors_of_images(saved: Callable[[str], Path]) -> None:
    model = PretrainedDepth.load(str(saved("dpt")))
    with pytest.raises(GeometryError, match=r"images \(B, 3, H, W\)"):
        model(_images()[0])
    with pytest.raises(GeometryError, match="at least 16 x 16"):
        model(torch.rand(1, 3, 8, 40))
    with pytest.raises(GeometryError, match="floats"):
        model((_images() * 255).to(torch.uint8))
    with pytest.raises(GeometryError, match=r"intrinsics \(2, 3, 3\)"):
        model(_images(), torch.eye(3))
    with pytest.raises(GeometryError, match="not finite"):
        model(_images() * torch.nan)


def test_errors_name_a_depth_model(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="expected a folder, or a hub id such as Intel/dpt-large"):
        PretrainedDepth.load(str(tmp_path / "none"))
    with pytest.raises(GeometryError, match="give its local folder"):
        PretrainedDepth.load("nobody-at-all/no-such-model", local_files_only=True)


def _changed(folder: Path, **values: Any) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))
    return str(folder)


def test_errors_of_models_that_give_no_depth(copied: Path) -> None:
    with pytest.raises(GeometryError, match=r"expected a depth model .* found 'DPTForSemanticSegmentation'"):
        PretrainedDepth.load(_changed(copied, model_type="dpt", architectures=["DPTForSemanticSegmentation"]))
    with pytest.raises(GeometryError, match=r"expected a depth model .* found 'Dinov2Model'"):
        PretrainedDepth.load(_changed(copied, model_type="dinov2", architectures=["Dinov2Model"]))


def test_missing_image_processor(copied: Path) -> None:
    (copied / "preprocessor_config.json").unlink()
    with pytest.raises(GeometryError, match="no usable image processor"):
        PretrainedDepth.load(str(copied))


def test_weights_that_are_never_used_may_be_missing(copied: Path) -> None:
    # Checkpoints of DPT on the hub lack the first residual layer of the fusion, which has nothing to add to.
    from safetensors.torch import load_file, save_file

    wanted = PretrainedDepth.load(str(copied)).raw(_images())
    unused = "neck.fusion_stage.layers.0.residual_layer1."
    tensors = load_file(copied / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if not key.startswith(unused)}
    assert len(kept) < len(tensors)
    save_file(kept, copied / "model.safetensors", {"format": "pt"})
    torch.testing.assert_close(PretrainedDepth.load(str(copied)).raw(_images()), wanted)


def test_unknown_family_needs_to_be_told(tmp_path: Path) -> None:
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor

    config = GLPNConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8, mlp_ratios=[2] * 4
    )
    GLPNForDepthEstimation(config).save_pretrained(tmp_path)
    GLPNImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(GeometryError, match="metric=True or metric=False"):
        PretrainedDepth.load(str(tmp_path))
    model = PretrainedDepth.load(str(tmp_path), metric=True)
    assert model.metric and model(_images()).shape == (2, 1, HEIGHT, WIDTH)


def test_own_word_overrules_the_configuration(saved: Callable[[str], Path]) -> None:
    model = PretrainedDepth.load(str(saved("dpt")), metric=True)
    assert model.kind == "depth"
    assert torch.equal(model(_images()), model.raw(_images()).clamp_min(MIN_METRES))
