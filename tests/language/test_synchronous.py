"""The synchronous backbone, with our blocks and with those of timm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scenegraph_track.errors import UserError
from scenegraph_track.language.synchronous import SynchronousBackbone, block_groups, no_template
from scenegraph_track.language.text import SmallText
from scenegraph_track.target.small_vit import Block


def text(groups: int = 2) -> SmallText:
    return SmallText(8, groups, 2).eval()


@pytest.mark.parametrize("enhance", [True, False])
@pytest.mark.parametrize("aware", [True, False])
def test_every_stage_gives_tokens_and_words(enhance: bool, aware: bool) -> None:
    torch.manual_seed(0)
    encoder = text()
    backbone = SynchronousBackbone([Block(8, 2), Block(8, 2)], 8, 8, 2, enhance, aware)
    words = encoder.start(encoder.read(["the red disk", "a blue box behind the wall", "the star"]))
    stages = backbone(torch.randn(2, 6, 8), no_template(torch.zeros(8), 3), encoder, words, torch.tensor([0, 0, 1]))
    assert len(stages) == 2 and all(stage.search.shape == (3, 6, 8) for stage in stages)
    assert (stages[0].gate == 1).all() == (not enhance)
    assert len(backbone.enhance) == 2 * enhance and len(backbone.aware) == 2 * aware


def test_the_sentence_changes_the_tokens_through_the_target_enhance_module() -> None:
    torch.manual_seed(0)
    encoder = text()
    tokens = torch.randn(1, 6, 8)
    for enhance in (True, False):
        backbone = SynchronousBackbone([Block(8, 2), Block(8, 2)], 8, 8, 2, enhance)
        found = [
            backbone(tokens, no_template(tokens, 1), encoder, encoder.start(encoder.read([said])))[-1].search
            for said in ("the red disk", "the blue star")
        ]
        assert torch.allclose(*found) != enhance


def test_blocks_of_a_timm_network_fit() -> None:
    """Any plain vision transformer of timm, its blocks in groups."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4, embed_dim=48, num_heads=3).eval()
    tokens = network.patch_embed(torch.rand(1, 3, 64, 64)) + network.pos_embed[:, 1:]
    encoder = text()
    backbone = SynchronousBackbone(block_groups(network.blocks, 2), 48, 8, 2)
    stages = backbone(tokens, tokens[:, :4], encoder, encoder.start(encoder.read(["the red disk"])))
    assert stages[-1].search.shape == (1, 16, 48)
    stages[-1].search.sum().backward()
    assert network.blocks[0].attn.qkv.weight.grad is not None


def test_groups_are_about_equally_long_and_keep_the_order() -> None:
    blocks = [nn.Identity() for _ in range(7)]
    groups = block_groups(blocks, 3)
    assert [len(group) for group in groups] == [2, 3, 2]
    assert [one for group in groups for one in group] == blocks
    with pytest.raises(UserError, match="1 to 7 groups"):
        block_groups(blocks, 8)


def test_as_many_groups_of_text_as_of_vision() -> None:
    encoder = text(3)
    backbone = SynchronousBackbone([Block(8, 2), Block(8, 2)], 8, 8, 2)
    with pytest.raises(UserError, match="expected 2 groups of text, found 3"):
        backbone(torch.zeros(1, 4, 8), torch.zeros(1, 0, 8), encoder, encoder.start(encoder.read(["red"])))
