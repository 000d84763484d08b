"""Text models of transformers, from tiny checkpoints saved in the library's own format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.language.hub_text import HubText
from scenegraph_track.language.network import LanguageNetSettings, LanguageNetwork

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "blue", "disk", "box"]


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=16, **sizes)).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = ["<start>", "<end>", "<unk>", "the", "red", "blue", "disk", "box"]
    made = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        "<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", pad_token="<end>", bos_token="<start>", eos_token="<end>"
    ).save_pretrained(tmp_path)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    CLIPTextModel(
        CLIPTextConfig(vocab_size=len(words), max_position_embeddings=16, eos_token_id=1, bos_token_id=0, **sizes)
    ).save_pretrained(tmp_path)
    return tmp_path


def advanced(text: HubText, texts: list[str]) -> torch.Tensor:
    words = text.start(text.read(texts))
    for group in range(text.groups):
        words = text.advance(group, words)
    return words.tokens


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_groups_of_bert_give_what_the_whole_model_gives(bert: Path, groups: int) -> None:
    text = HubText(bert, groups).eval()
    ids = text.read(["the red disk", "the blue"])
    whole = text.model(input_ids=ids, attention_mask=(ids != text.nothing).long()).last_hidden_state
    found = advanced(text, ["the red disk", "the blue"])
    torch.testing.assert_close(found[0], whole[0])
    torch.testing.assert_close(found[1, :4], whole[1, :4])


def test_groups_of_clip_give_what_the_whole_model_gives(clip: Path) -> None:
    text = HubText(clip, 2).eval()
    ids = text.read(["the red disk"])
    whole = text.model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(advanced(text, ["the red disk"]), whole)


def test_a_language_network_reads_with_bert(bert: Path) -> None:
    sizes = {"channels": (4, 6, 8), "blocks": (0, 1), "stages": 2, "heads": 2, "tower": 8}
    network = LanguageNetwork(LanguageNetSettings(text=str(bert), **sizes)).eval()
    seen = network.see(torch.rand(1, 3, 32, 48))
    found = [
        network.respond(seen, network.text.start(network.text.read([said]))).match
        for said in ("the red disk", "the blue box")
    ]
    assert found[0].shape == (1, 24)
    assert not torch.allclose(*found)


def test_words_that_bert_reads_as_unknown(bert: Path) -> None:
    assert HubText(bert, 1).unknown("the red zeppelin") == ("zeppelin",)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a text model of transformers"):
        HubText(tmp_path, 1)


def test_more_groups_than_layers_are_refused(bert: Path) -> None:
    with pytest.raises(UserError, match="expected 1 to 3 groups"):
        HubText(bert, 4)
