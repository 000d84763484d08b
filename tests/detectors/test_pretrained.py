"""Adapters to the detectors of transformers, on tiny random checkpoints that the library itself saved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from detectors.errors import DetectorError
from detectors.pretrained import TransformersDetector

HEIGHT, WIDTH = 60, 84
NAMES = ["person", "bicycle", "Car", "dog"]
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: k for k, name in enumerate(NAMES)}}
TEXT = ["a cat", "the red dog", "remote"]
CLOSED = ["rt_detr", "rt_detr_v2", "d_fine", "detr", "rf_detr"]
READERS = ["grounding_dino", "mm_grounding_dino", "owlv2", "owlvit"]
DECODER = {"decoder_layers": 2, "decoder_ffn_dim": 16, "num_queries": 12, "decoder_attention_heads": 2}
ENCODER = {"encoder_layers": 1, "encoder_ffn_dim": 16, "encoder_attention_heads": 2}
RT = {
    **DECODER,
    **ENCODER,
    **LABELS,
    "d_model": 16,
    "encoder_hidden_dim": 16,
    "decoder_in_channels": [16] * 3,
    "num_denoising": 0,
}


def _rt_detr(version: str) -> tuple[Any, Any]:
    import transformers

    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1] * 4,
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = getattr(transformers, f"RTDetr{version}Config")(
        backbone_config=backbone, encoder_in_channels=[8, 16, 16], **RT
    )
    model = getattr(transformers, f"RTDetr{version}ForObjectDetection")(config)
    return model, transformers.RTDetrImageProcessor(size={"height": 64, "width": 64})


def _d_fine() -> tuple[Any, Any]:
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config, RTDetrImageProcessor

    backbone = HGNetV2Config(
        embedding_size=8,
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 16, 16],
        stage_mid_channels=[4, 4, 8, 8],
        stage_out_channels=[8, 16, 16, 16],
        stage_num_blocks=[1] * 4,
        stage_numb_of_layers=[1] * 4,
        stage_light_block=[False] * 4,
        stage_downsample=[False, True, True, True],
        stage_kernel_size=[3] * 4,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1] * 4,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = DFineConfig(
        backbone_config=backbone, encoder_in_channels=[16] * 3, decoder_n_points=[2] * 3, max_num_bins=8, **RT
    )
    return DFineForObjectDetection(config), RTDetrImageProcessor(size={"height": 64, "width": 64})


def _detr() -> tuple[Any, Any]:
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic", out_features=["stage4"]
    )
    config = DetrConfig(use_timm_backbone=False, backbone_config=backbone, d_model=16, **DECODER, **ENCODER, **LABELS)
    return DetrForObjectDetection(config), DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})


def _rf_detr() -> tuple[Any, Any]:
    from transformers import RfDetrConfig, RfDetrDinov2Config, RfDetrForObjectDetection, RfDetrImageProcessor

    backbone = RfDetrDinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        num_windows=2,
        out_features=["stage1", "stage2"],
    )
    config = RfDetrConfig(
        backbone_config=backbone,
        d_model=16,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2,
        num_queries=12,
        group_detr=1,
        **LABELS,
    )
    return RfDetrForObjectDetection(config), RfDetrImageProcessor(size={"height": 56, "width": 56})


def _grounding_dino(family: str) -> tuple[Any, Any]:
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "the", "red", "cat", "dog"]
    tokenizer = transformers.BertTokenizer(vocab={word: k for k, word in enumerate(words)})
    text = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    backbone = transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = getattr(transformers, f"{family}Config")(
        backbone_config=backbone, text_config=text, d_model=32, max_text_len=32, **DECODER, **ENCODER
    )
    images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    model = getattr(transformers, f"{family}ForObjectDetection")(config)
    return model, transformers.GroundingDinoProcessor(images, tokenizer)


def _owl(family: str) -> tuple[Any, Any]:
    import transformers

    letters = [letter + end for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocab = {token: k for k, token in enumerate(["!", "<|startoftext|>", "<|endoftext|>", *letters])}
    tokenizer = transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=16)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(vocab), "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{family}Config")(
        text_config=text, vision_config={**sizes, "image_size": 64, "patch_size": 16}, projection_dim=16
    )
    images = getattr(transformers, f"{family}ImageProcessor")(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}
    )
    model = getattr(transformers, f"{family}ForObjectDetection")(config)
    return model, getattr(transformers, f"{family}Processor")(images, tokenizer)


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "rt_detr": lambda: _rt_detr(""),
    "rt_detr_v2": lambda: _rt_detr("V2"),
    "d_fine": _d_fine,
    "detr": _detr,
    "rf_detr": _rf_detr,
    "grounding_dino": lambda: _grounding_dino("GroundingDino"),
    "mm_grounding_dino": lambda: _grounding_dino("MMGroundingDino"),
    "owlv2": lambda: _owl("Owlv2"),
    "owlvit": lambda: _owl("OwlViT"),
}


def _image() -> Tensor:
    coarse = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")[0]


def _spread(model: Any) -> None:
    """Give a new model weights with which its boxes and classes differ."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 1 / weight[0].numel() ** 0.5, generator=random)
            elif name.endswith("bias"):
                weight.normal_(0, 0.2, generator=random)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny checkpoint, saved in the library's own format."""
    root = tmp_path_factory.mktemp("detectors")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            torch.manual_seed(0)
            model, processor = BUILDERS[name]()
            _spread(model)
            model.save_pretrained(root / name)
            processor.save_pretrained(root / name)
        return root / name

    return folder


@pytest.fixture
def copied(saved: Callable[[str], Path], tmp_path: Path) -> Path:
    """A checkpoint of RT-DETR that a test may break."""
    return Path(shutil.copytree(saved("rt_detr"), tmp_path / "model"))


@torch.no_grad()
def _by_hand(folder: Path, threshold: float) -> dict[str, Any]:
    """The answer of the library, driven without the adapter."""
    from transformers import AutoModelForObjectDetection, AutoModelForZeroShotObjectDetection, AutoProcessor

    reads = folder.name in READERS
    processor = AutoProcessor.from_pretrained(folder)
    model = (AutoModelForZeroShotObjectDetection if reads else AutoModelForObjectDetection).from_pretrained(folder)
    text = {"text": [TEXT]} if reads else {}
    inputs = processor(images=[_image() * 255], return_tensors="pt", **text)
    outputs = model.eval()(**inputs)
    options = {"threshold": threshold, "target_sizes": [(HEIGHT, WIDTH)]}
    if "grounding" in folder.name:
        options["text_threshold"] = threshold
    post = processor.post_process_grounded_object_detection if reads else processor.post_process_object_detection
    return {**post(outputs, **options)[0], "outputs": outputs}


def _load(folder: Path, **more: Any) -> TransformersDetector:
    return TransformersDetector.load(folder, text=TEXT if folder.name in READERS else None, **more)


@pytest.mark.parametrize("name", CLOSED + READERS)
def test_same_as_the_library(saved: Callable[[str], Path], name: str) -> None:
    # Sorted by score, cut to the image, and every box once with its best class.
    found = _load(saved(name), threshold=0.02)(_image())
    wanted = _by_hand(saved(name), 0.02)
    assert len(found) >= 3
    boxes = wanted["boxes"].clamp(min=0).minimum(torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]))
    order = wanted["scores"].argsort(descending=True, stable=True).tolist()
    rows: list[int] = []
    for row in order:
        whole = bool((boxes[row, 2:] > boxes[row, :2]).all())
        if whole and not any(torch.equal(boxes[row], boxes[other]) for other in rows):
            rows.append(row)
    torch.testing.assert_close(found.boxes, boxes[rows], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.scores, wanted["scores"][rows], rtol=0, atol=1e-6)
    if "grounding" not in name:
        assert torch.equal(found.classes, wanted["labels"][rows])
    assert found.boxes.dtype == found.scores.dtype == torch.float32 and found.classes.dtype == torch.int64
    assert not found.scores.requires_grad


def test_class_of_a_box_is_the_phrase_of_its_surest_word(saved: Callable[[str], Path]) -> None:
    # The third phrase is a word that the tokenizer does not know; full stops and special tokens are of no phrase.
    detector = _load(saved("grounding_dino"), threshold=0.4)
    tokens = ["[CLS]", "a", "cat", ".", "the", "red", "dog", ".", "[UNK]", ".", "[SEP]"]
    found = detector(_image())
    outputs = _by_hand(saved("grounding_dino"), 0.4)["outputs"]
    assert detector._processor.tokenizer.convert_ids_to_tokens(outputs.input_ids[0]) == tokens
    words = outputs.logits[0].sigmoid()[:, : len(tokens)]
    best = torch.stack([words[:, 1:3].amax(1), words[:, 4:7].amax(1), words[:, 8]]).argmax(0)
    surest = words.amax(1)
    order = surest.argsort(descending=True)[: int((surest > 0.4).sum())]
    assert torch.equal(found.classes, best[order]) and len(found.classes.unique()) > 1
    assert detector.names == {0: "a cat", 1: "the red dog", 2: "remote"}


def test_phrases_of_given_words(saved: Callable[[str], Path]) -> None:
    # Where a full stop or a special token is surest, the surest word counts; sure of nothing, a box is left out.
    detector = _load(saved("mm_grounding_dino"))
    logits = torch.full((6, 32), -torch.inf)
    logits[:, :11] = -3.0
    logits[0, 2], logits[1, 4], logits[2, 8] = 1.0, 1.0, 1.0
    logits[3, 3], logits[3, 6] = 2.0, 0.5
    logits[5, 10], logits[5, 1] = 2.0, -1.0
    assert detector._phrases(logits, detector._text["input_ids"][0]).tolist() == [0, 1, 2, 1, 0]


def test_threshold_is_exclusive_and_everything_above_it_is_given(saved: Callable[[str], Path]) -> None:
    detector = _load(saved("detr"), threshold=0.0)
    everything = detector(_image())
    detector.threshold = float(everything.scores[2])
    fewer = detector(_image())
    assert len(everything) > 3 and torch.equal(fewer.scores, everything.scores[:2])
    detector.threshold = 0.9999
    nothing = detector(_image())
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4) and nothing.classes.dtype == torch.int64


@pytest.mark.parametrize("classes", [["THE RED DOG", "a cat"], [1, 0], ["A cat", 1]])
def test_only_chosen_classes_are_given(saved: Callable[[str], Path], classes: list[str | int]) -> None:
    everything = _load(saved("owlvit"), threshold=0.0)(_image())
    assert len(everything.classes.unique()) == 3
    some = _load(saved("owlvit"), threshold=0.0, classes=classes)(_image())
    keep = everything.classes < 2
    assert torch.equal(some.boxes, everything.boxes[keep]) and torch.equal(some.classes, everything.classes[keep])


def test_box_of_two_classes_appears_once_with_the_surest_that_is_asked_for(saved: Callable[[str], Path]) -> None:
    folder = saved("rf_detr")
    given = _by_hand(folder, 0.0)
    everything = _load(folder, threshold=0.0)(_image())
    box = next(box for box in everything.boxes if (given["boxes"] - box).abs().amax(1).lt(1e-4).sum() > 1)
    labels = given["labels"][(given["boxes"] - box).abs().amax(1) < 1e-4].tolist()
    for classes, wanted in ((None, labels[0]), (labels[1:], labels[1])):
        found = _load(folder, threshold=0.0, classes=classes)(_image())
        rows = (found.boxes == box).all(1)
        assert rows.sum() == 1 and found.classes[rows].item() == wanted


@pytest.mark.parametrize("size", [(60, 84), (33, 200), (128, 64)])
def test_boxes_lie_within_images_of_any_size(saved: Callable[[str], Path], size: tuple[int, int]) -> None:
    found = _load(saved("owlv2"), threshold=0.0)(torch.rand(3, *size))
    assert len(found) and (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert found.boxes.min() >= 0 and found.boxes[:, 2].max() <= size[1] and found.boxes[:, 3].max() <= size[0]


def test_names_and_frozen_weights(saved: Callable[[str], Path]) -> None:
    detector = _load(saved("rt_detr"))
    assert detector.names == dict(enumerate(NAMES)) and detector.threshold == 0.5
    assert not any(weight.requires_grad for weight in detector._model.parameters()) and not detector._model.training


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rt_detr", {"text": ["a cat"]}, "give classes rather than text"),
        ("rt_detr", {"classes": ["cat"]}, "expected classes out of person, bicycle, Car, dog; found 'cat'"),
        ("rt_detr", {"classes": [4]}, "found 4"),
        ("rt_detr", {"threshold": 1.0}, r"expected a number in \[0, 1\), found 1.0"),
        ("grounding_dino", {}, "give it a list such as"),
        ("grounding_dino", {"text": "a cat. a dog."}, "give it a list such as"),
        ("grounding_dino", {"text": ["a cat. a dog."]}, "without full stops"),
        ("grounding_dino", {"text": ["a cat", " "]}, "without full stops"),
        ("grounding_dino", {"text": ["red cat"] * 20}, "the text has 62 tokens, and may have 32"),
        ("owlv2", {"text": ["abcdefghijklmnopqrstuvwxyz"]}, "the longest phrase has 28 tokens, and may have 16"),
    ],
)
def test_wrong_choices_in_one_sentence(
    saved: Callable[[str], Path], name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DetectorError, match=message) as caught:
        TransformersDetector.load(saved(name), **options)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_detectors(tmp_path: Path, copied: Path) -> None:
    with pytest.raises(DetectorError, match="expected a folder, or a hub id such as PekingU/rtdetr_v2_r18vd"):
        TransformersDetector.load(tmp_path / "nowhere" / "at" / "all")
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "architectures": ["RTDetrModel"]}))
    with pytest.raises(DetectorError, match=r"expected a detector .* found 'RTDetrModel'"):
        TransformersDetector.load(copied)
    (copied / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    with pytest.raises(DetectorError, match=r"expected a detector .* found 'BertModel'"):
        TransformersDetector.load(copied)


def test_missing_processor(copied: Path) -> None:
    (copied / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ViTImageProcessor"}))
    with pytest.raises(DetectorError, match="is no processor of a detector"):
        TransformersDetector.load(copied)
    (copied / "preprocessor_config.json").write_text("{")
    with pytest.raises(DetectorError, match=r"no usable processor \(preprocessor_config.json\)"):
        TransformersDetector.load(copied)


def test_weights_that_only_training_uses_may_be_missing(saved: Callable[[str], Path], tmp_path: Path) -> None:
    wanted = _load(saved("rf_detr"), threshold=0.0)(_image())
    copied = shutil.copytree(saved("rf_detr"), tmp_path / "model")
    tensors = load_file(copied / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if not key.endswith((".mask_token", "num_batches_tracked"))}
    assert len(kept) < len(tensors)
    save_file(kept, copied / "model.safetensors", {"format": "pt"})
    assert torch.equal(_load(copied, threshold=0.0)(_image()).boxes, wanted.boxes)


def test_hub_without_the_detector() -> None:
    with pytest.raises(DetectorError, match="check the id and the connection"):
        TransformersDetector.load("nobody-at-all/no-such-detector", local_files_only=True)


@pytest.mark.parametrize("image", [torch.zeros(1, 3, 60, 84), torch.zeros(1, 60, 84), torch.zeros(3, 0, 84)])
def test_images_of_another_shape(saved: Callable[[str], Path], image: Tensor) -> None:
    with pytest.raises(DetectorError, match="expected an RGB image"):
        _load(saved("rt_detr"))(image)


def test_bytes_and_broken_numbers_are_no_images(saved: Callable[[str], Path]) -> None:
    detector = _load(saved("detr"), threshold=0.0)
    with pytest.raises(DetectorError, match=r"floats in \[0, 1\]"):
        detector(torch.zeros(3, 60, 84, dtype=torch.uint8))
    with pytest.raises(DetectorError, match="not finite"):
        detector(torch.full((3, 60, 84), torch.nan))
