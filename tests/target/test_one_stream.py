"""The one-stream encoder: against plain networks, eliminated tokens by hand, attention, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detectors.errors import DetectorError
from scenegraph_track.errors import UserError
from scenegraph_track.target.elimination import Elimination
from scenegraph_track.target.one_stream import OneStreamEncoder, OneStreamOutput
from scenegraph_track.target.small_vit import SmallViT

TINY = {"depth": 3, "embed_dim": 32, "num_heads": 2}
TIMM = [
    "vit_small_patch16_224.dino",
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_base_patch16_clip_224",
    "vit_base_patch16_siglip_224",
    "eva02_tiny_patch14_224",
]
"""Networks of timm of all kinds that the encoder takes."""


def _small(**settings: Any) -> OneStreamEncoder:
    torch.manual_seed(0)
    return OneStreamEncoder(SmallViT(48, 8, 24, 4, 3), 24, 48, **settings).eval()


def _views(batch: int = 2, count: int = 2, small: int = 24, large: int = 48) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(batch)
    templates = torch.rand(batch, count, 3, small, small, generator=draw)
    return templates, torch.rand(batch, 3, large, large, generator=draw)


def _normalised(network: nn.Module, images: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(network.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    return (images - mean) / deviation


def _network(name: str) -> nn.Module:
    import timm

    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, dynamic_img_size=True, **TINY).eval()
    for key in ("cls_token", "dist_token", "reg_token"):
        if getattr(network, key, None) is not None:
            nn.init.normal_(getattr(network, key))
    return network


@pytest.mark.parametrize("name", TIMM)
def test_with_all_tokens_kept_it_is_the_plain_network(name: str) -> None:
    # Without templates, the view is what the network makes of an image; with them, what its blocks make of all tokens.
    network, kept = _network(name), Elimination((0, 1), keep=1)
    patch = network.patch_embed.patch_size[0]
    encoder = OneStreamEncoder(_network(name), 2 * patch, 4 * patch, elimination=kept).eval()
    templates, search = _views(2, 2, 2 * patch, 4 * patch)
    first = network.num_prefix_tokens
    with torch.no_grad():
        plain = network.forward_features(_normalised(network, search))[:, first:]
        alone = encoder(templates[:, :0], search)
        torch.testing.assert_close(alone.search.flatten(2).transpose(1, 2), plain)
        assert alone.kept.all() and alone.templates.shape == (2, 0, 32, 2, 2) and alone.context.shape == (2, 0, 32)

        found = encoder(templates, search)
        embedded, turns = [], []
        for image in (templates[:, 0], templates[:, 1], search):
            tokens = network._pos_embed(network.patch_embed(_normalised(network, image)))
            tokens, turn = tokens if isinstance(tokens, tuple) else (tokens, None)
            embedded.append(network.norm_pre(tokens) if not embedded else network.norm_pre(tokens)[:, first:])
            turns.append(turn)
        tokens = torch.cat(embedded, 1)
        for block in network.blocks:
            tokens = block(tokens) if turns[0] is None else block(tokens, rope=torch.cat(turns))
        tokens = network.norm(tokens)[:, first:]
    torch.testing.assert_close(found.templates.flatten(3).transpose(2, 3).flatten(1, 2), tokens[:, :8])
    torch.testing.assert_close(found.search.flatten(2).transpose(1, 2), tokens[:, 8:])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("beitv2_base_patch16_224", TINY),
        ("vit_relpos_small_patch16_224", TINY),
        ("eva02_tiny_patch14_224", {**TINY, "use_post_norm": True}),
        ("vit_small_patch16_rope_mixed_224", TINY),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1), "embed_dim": 24}),
    ],
)
def test_other_networks_are_refused(name: str, options: dict[str, Any]) -> None:
    import timm

    with pytest.raises(UserError, match="plain blocks"):
        OneStreamEncoder(timm.create_model(name, num_classes=0, **options))


def test_by_name_and_unknown_names() -> None:
    encoder = OneStreamEncoder.from_timm("vit_small_patch16_224.dino", options=TINY, template=32, search=64)
    assert (encoder.width, encoder.stride) == (32, 16)
    assert encoder(*_views(1, 1, 32, 64)).search.shape == (1, 32, 4, 4)
    with pytest.raises(DetectorError, match="timm knows no such network"):
        OneStreamEncoder.from_timm("vit_smal_patch16_224")


def test_ours_with_all_tokens_kept_is_the_plain_network() -> None:
    torch.manual_seed(0)
    vit = SmallViT(48, 8, 24, 4, 3).eval()
    encoder = OneStreamEncoder(vit, 48, 48)
    templates, search = _views(2, 1, 48)
    images = [(image - encoder.mean) / encoder.std for image in (templates[:, 0], search)]
    torch.testing.assert_close(encoder(templates[:, :0], search).search.flatten(2).transpose(1, 2), vit(images[1]))
    tokens = vit.norm(vit.blocks(torch.cat([vit.patch_embed(image) + vit.pos_embed for image in images], 1)))
    torch.testing.assert_close(encoder(templates, search).search.flatten(2).transpose(1, 2), tokens[:, 36:])


def _by_hand(
    encoder: OneStreamEncoder, templates: Tensor, search: Tensor, context: Tensor, reference: Tensor, keep: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One sample, tokens as a list that shrinks: search map, which are kept, attention of the last block."""

    def tokens_of(image: Tensor, positions: Tensor) -> list[Tensor]:
        tokens = encoder.patch_embed(((image - encoder.mean) / encoder.std)[None])[0]
        return list(tokens + positions[0].flatten(1).T)

    fixed = list(context)
    for template in templates:
        fixed += tokens_of(template, encoder.template_positions)
    alive = dict(enumerate(tokens_of(search, encoder.search_positions)))
    start = len(fixed)
    weights = reference.flatten()
    for number, block in enumerate(encoder.blocks):
        tokens = torch.stack(fixed + list(alive.values()))
        heads, size = block.attn.num_heads, tokens.shape[1] // block.attn.num_heads
        qkv = block.attn.qkv(block.norm1(tokens))
        maps = []
        for head in range(heads):
            q, k = (qkv[:, s + head * size : s + (head + 1) * size] for s in (0, tokens.shape[1]))
            logits = q @ k.T / size**0.5
            maps.append(logits.exp() / logits.exp().sum(1, keepdim=True))
        attention = torch.stack(maps)
        seen = torch.zeros(heads, start, 36)
        seen[:, :, list(alive)] = attention[:, :start, start:]
        tokens = block(tokens[None])[0]
        fixed, alive = list(tokens[:start]), dict(zip(alive, tokens[start:]))
        if number in encoder.elimination.blocks:
            rows = attention[:, len(context) : start, start:].mean(0)
            scores = dict(zip(alive, (rows * weights[:, None]).sum(0) / weights.sum()))
            count = -int(-(round(keep * len(alive), 6)) // 1)
            best = sorted(scores, key=lambda token: -scores[token])[:count]
            alive = {token: alive[token] for token in alive if token in best}
    found, kept = torch.zeros(encoder.width, 36), torch.zeros(36, dtype=torch.bool)
    for token, value in alive.items():
        found[:, token], kept[token] = encoder.norm(value), True
    return found.view(-1, 6, 6), kept.view(6, 6), seen.view(heads, start, 6, 6)


@pytest.mark.parametrize("blocks", [(0, 2), (1,), (3,), (0, 1, 2, 3)])
@pytest.mark.parametrize("keep", [0.7, 0.4])
def test_elimination_and_attention_by_hand(blocks: tuple[int, ...], keep: float) -> None:
    encoder = _small(elimination=Elimination(blocks, keep=0.5))
    for parameter in encoder.parameters():
        parameter.data.mul_(2)  # fresh weights give almost the same attention everywhere
    templates, search = _views()
    context, reference = torch.randn(2, 3, 24), torch.rand(2, 2, 3, 3)
    with torch.no_grad():
        found = encoder(templates, search, context, reference, keep, attention=True)
        for sample in range(2):
            wanted = _by_hand(encoder, templates[sample], search[sample], context[sample], reference[sample], keep)
            torch.testing.assert_close(found.search[sample], wanted[0])
            assert (found.kept[sample] == wanted[1]).all()
            torch.testing.assert_close(found.attention[sample], wanted[2])
    assert not (found.kept[0] == found.kept[1]).all() and not found.kept.all()
    assert (found.search[~found.kept[:, None].expand_as(found.search)] == 0).all()


def test_elimination_goes_by_the_middle_token_by_itself_and_by_the_share_of_its_settings() -> None:
    encoder = _small(elimination=Elimination((1,), keep=0.5))
    templates, search = _views(2, 2, 32)
    middle = torch.zeros(2, 2, 4, 4)
    middle[:, :, 1, 1] = 1
    alone, told = encoder(templates, search), encoder(templates, search, reference=middle, keep=0.5)
    assert torch.equal(alone.search, told.search) and alone.kept.sum((1, 2)).tolist() == [18, 18]
    other = encoder(templates, search, reference=middle.roll(1, 3))
    assert not torch.equal(alone.kept, other.kept)
    assert encoder(templates, search, keep=1.0).kept.all()
    assert encoder(templates[:, :0], search).kept.all(), "without templates nothing says what to leave out"


def test_rotary_positions_stay_with_their_tokens() -> None:
    # The network with rotations sees kept tokens where they were: by hand, with the rotations of the kept ones.
    network = _network("vit_small_patch16_dinov3")
    encoder = OneStreamEncoder(network, 32, 64, elimination=Elimination((0,), keep=0.5)).eval()
    templates, search = _views(2, 1, 32, 64)
    context = torch.randn(2, 2, 32)
    with torch.no_grad():
        found = encoder(templates, search, context)
        for sample in range(2):
            parts = [encoder.prefix, context[sample][None]]
            for image, positions in ((templates[sample], encoder.template_positions), (search[sample][None], None)):
                positions = encoder.search_positions if positions is None else positions
                parts.append(encoder._tokens(image, positions)[0])
            turns = torch.cat([network.rope.get_embed(shape=(2, 2)), network.rope.get_embed(shape=(4, 4))])
            none = torch.cat([torch.zeros(2, turns.shape[1] // 2), torch.ones(2, turns.shape[1] // 2)], 1)
            turns = torch.cat([none, turns])
            first, start = encoder.prefix.shape[1], encoder.prefix.shape[1] + 2 + 4
            tokens = network.blocks[0](torch.cat(parts, 1), rope=turns)
            kept = found.kept[sample].flatten().nonzero().flatten()
            tokens = torch.cat([tokens[:, :start], tokens[:, start:][:, kept]], 1)
            turns = torch.cat([turns[: start - first], turns[start - first :][kept]])
            for block in network.blocks[1:]:
                tokens = block(tokens, rope=turns)
            wanted = torch.zeros(16, 32)
            wanted[kept] = network.norm(tokens)[0, start:]
            torch.testing.assert_close(found.search[sample].flatten(1).T, wanted)


def test_attention_is_given_on_demand_and_changes_nothing() -> None:
    encoder, (templates, search) = _small(), _views()
    context = torch.randn(2, 3, 24)
    without, found = encoder(templates, search, context), encoder(templates, search, context, attention=True)
    assert without.attention is None and torch.equal(without.search, found.search)
    assert found.attention.shape == (2, 3, 3 + 2 * 9, 6, 6)
    rows = found.attention.sum((-2, -1))
    assert (rows > 0).all() and (rows < 1).all()


def test_context_templates_and_search_see_each_other() -> None:
    encoder, (templates, search) = _small(), _views()
    context = torch.randn(2, 3, 24)

    def parts(output: OneStreamOutput) -> list[Tensor]:
        return [output.search, output.templates, output.context]

    before = parts(encoder(templates, search, context))
    assert before[2].shape == (2, 3, 24) and before[1].shape == (2, 2, 24, 3, 3)
    for changed in ((1 - templates, search, context), (templates, 1 - search, context), (templates, search, -context)):
        assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, parts(encoder(*changed))))


def test_samples_do_not_see_each_other_and_nothing_stays_from_call_to_call() -> None:
    encoder, (templates, search) = _small(elimination=Elimination((0, 2))), _views()
    context = torch.randn(2, 3, 24)
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    attributes = set(vars(encoder)) | set(dir(encoder))
    together = encoder(templates, search, context, attention=True)
    apart = [encoder(templates[k : k + 1], search[k : k + 1], context[k : k + 1], attention=True) for k in (1, 0)][::-1]
    for name in ("search", "templates", "context", "attention"):
        torch.testing.assert_close(getattr(together, name), torch.cat([getattr(one, name) for one in apart]))
    again = encoder(templates, search, context, attention=True)
    assert torch.equal(together.search, again.search)
    assert set(vars(encoder)) | set(dir(encoder)) == attributes
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())


def test_gradients_flow_through_elimination_to_all_weights_and_inputs() -> None:
    encoder, (templates, search) = _small(elimination=Elimination((0, 2))), _views()
    context = torch.randn(2, 3, 24, requires_grad=True)
    templates, search = templates.requires_grad_(), search.requires_grad_()
    output = encoder(templates, search, context, attention=True)
    output.search.square().sum().add(output.attention.square().sum()).backward()
    for name, parameter in [*encoder.named_parameters(), ("z", templates), ("x", search), ("c", context)]:
        if name != "prefix":
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    encoder.zero_grad()
    encoder(templates, search, attention=True).attention.square().sum().backward()
    assert encoder.search_positions.grad.abs().max() > 0, "attention as a cue has gradients of its own"


def test_views_of_other_sizes() -> None:
    output = _small()(torch.rand(1, 2, 3, 16, 32), torch.rand(1, 3, 40, 64))
    assert output.search.shape == (1, 24, 5, 8) and output.templates.shape == (1, 2, 24, 2, 4)
    with pytest.raises(UserError, match="multiple of 8 pixels on each side, found 40x50"):
        _small()(torch.rand(1, 1, 3, 16, 16), torch.rand(1, 3, 40, 50))


def test_blocks_that_are_not_there_are_refused() -> None:
    with pytest.raises(UserError, match=r"blocks 0 to 3, found \[6, 9\]"):
        _small(elimination=Elimination())
