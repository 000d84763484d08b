"""What exists at training time only leaves no trace: the network that was trained with it stands without it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from geometry.weights import load_weights
from scenegraph_track.pretraining.noise import NoiseDecoder, background_tokens, of_other_sequences
from scenegraph_track.pretraining.prompts import PromptTokens, cells_inside, reference_attention
from scenegraph_track.target.elimination import Elimination
from scenegraph_track.target.one_stream import OneStreamEncoder
from scenegraph_track.target.one_stream_network import OneStreamNetwork, OneStreamResponse
from scenegraph_track.target.small_vit import SmallViT

BOXES = torch.tensor([[0.25, 0.25, 0.75, 0.75]] * 2)


def _network(seed: int = 0) -> OneStreamNetwork:
    torch.manual_seed(seed)
    encoder = OneStreamEncoder(SmallViT(48, 8, 24, 2, 3), 24, 48, elimination=Elimination((0,)))
    return OneStreamNetwork(encoder)


def _views(frame: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(frame)
    return torch.rand(2, 1, 3, 24, 24, generator=draw), torch.rand(2, 3, 48, 48, generator=draw)


def _trained() -> tuple[OneStreamNetwork, PromptTokens, NoiseDecoder]:
    """A network after one step with prompts from frame to frame, and one with noise."""
    network, association = _network(), nn.ModuleList([PromptTokens(24, 4), NoiseDecoder(24)])
    prompts, decoder = association
    reference = cells_inside(BOXES, (3, 3))[:, None]
    for noisy in (False, True):
        first = network(*_views(0), attention=True)
        maps = reference_attention(first.output.attention, reference)
        if noisy:
            tokens = background_tokens(first.output.search, first.maps.score, BOXES, 4, 1.0, kept=first.output.kept)
            loss = first.maps.score.sum() + decoder(first.output.search, of_other_sequences(tokens)).score.sum()
        else:
            found = prompts(first.output.search, maps, first.maps.score, first.output.kept)
            loss = first.maps.score.sum() + network(*_views(1), prompts=found.tokens).maps.score.sum()
        network.zero_grad()
        association.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in (*network.parameters(), *association.parameters()):
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=0.1)
    return network, prompts, decoder


def _bytes(response: OneStreamResponse) -> bytes:
    return b"".join(part.numpy().tobytes() for part in (response.maps.score, response.maps.size, response.maps.offset))


def test_the_exported_network_has_the_same_weights_and_output_bytes_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prompts, decoder = _trained()
    before = _network()
    moved = zip(network.encoder.parameters(), before.encoder.parameters())
    assert all((p.detach() != fresh).any() for p, fresh in moved if p.numel())
    with torch.no_grad():
        together = _bytes(network.eval()(*_views(2)))
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    assert {k: v.shape for k, v in load_file(tmp_path / "network.safetensors").items()} == {
        name: value.shape for name, value in before.state_dict().items()
    }, "nothing but the network is exported"

    del network, prompts, decoder
    for name in [name for name in sys.modules if name.startswith("scenegraph_track.pretraining")]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith("scenegraph_track.target")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError):
        importlib.import_module("scenegraph_track.pretraining.prompts")
    alone = importlib.import_module("scenegraph_track.target.one_stream_network")
    encoder, vit = (importlib.import_module(f"scenegraph_track.target.{name}") for name in ("one_stream", "small_vit"))
    elimination = importlib.import_module("scenegraph_track.target.elimination").Elimination((0,))
    torch.manual_seed(7)
    built = encoder.OneStreamEncoder(vit.SmallViT(48, 8, 24, 2, 3), 24, 48, elimination=elimination)
    exported = alone.OneStreamNetwork(built)
    assert exported.__class__ is not OneStreamNetwork
    load_weights(exported, tmp_path / "network.safetensors")
    with torch.no_grad():
        assert _bytes(exported.eval()(*_views(2))) == together
        assert _bytes(_network(1).eval()(*_views(2))) != together
