"""The small text encoder that ships: a transformer on words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scenegraph_track.language.synchronous import Words
from scenegraph_track.language.vocabulary import ASPECTS, LEADING_OVER, PAD, Tokenizer


class SmallText(nn.Module):
    """A transformer encoder on words (Vaswani et al., 2017; normalisation first), in groups of one layer.

    Args:
        dim: Of the words.
        groups: Number of layers.
        heads: Of the attention.
        longest: Words of a sentence, the start counted.
        tokenizer: Makes the numbers.
    """

    def __init__(
        self,
        dim: int = 96,
        groups: int = 3,
        heads: int = 4,
        longest: int = 40,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        super().__init__()
        self.dim, self.groups, self.longest = dim, groups, longest
        self.tokenizer = Tokenizer() if tokenizer is None else tokenizer
        self.nothing = self.tokenizer.numbers[PAD]
        self.embedding = nn.Embedding(len(self.tokenizer), dim)
        self.positions = nn.Parameter(0.02 * torch.randn(longest, dim))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 2 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(groups)
        )
        nn.init.normal_(self.embedding.weight, std=0.3)
        named = [word for name, answers in ASPECTS.items() for word in answers if name != "motion"]
        order = {word: number for number, word in enumerate(named)}
        answer = torch.tensor([order.get(word, -1) for word in self.tokenizer.words])
        self.register_buffer("answer", answer, persistent=False)
        leads_over = torch.tensor([word in LEADING_OVER for word in self.tokenizer.words])
        self.register_buffer("leads_over", leads_over, persistent=False)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Numbers (B, W) of sentences, those of `PAD` behind their ends."""
        readings = [self.tokenizer.read(text, self.longest - 1).ids for text in texts]
        ids = torch.full((len(readings), max(map(len, readings))), self.nothing)
        for row, reading in enumerate(readings):
            ids[row, : len(reading)] = torch.tensor(reading)
        return ids

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of a sentence that nothing is known of."""
        return self.tokenizer.read(text, self.longest - 1).unknown

    def answers(self, words: Words) -> Tensor:
        """(B, W) numbers of the answers of `vocabulary.ASPECTS` that the words name, -1 of other words.

        Words behind one that leads over to another object ("behind", "hidden by", ...) are about that one: -1 too.
        """
        ids = words.extra
        assert isinstance(ids, Tensor)
        return self.answer[ids].masked_fill(self.leads_over[ids].cumsum(1) > 0, -1)

    def start(self, ids: Tensor) -> Words:
        """See `TextGroups`."""
        return Words(self.embedding(ids) + self.positions[: ids.shape[1]], ids != self.nothing, ids)

    def advance(self, group: int, words: Words) -> Words:
        """See `TextGroups`."""
        tokens = self.layers[group](words.tokens, src_key_padding_mask=~words.spoken)
        return Words(tokens, words.spoken, words.extra)
