"""Text encoders of the library ``transformers`` (CLIP, BERT and the like) in groups of layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scenegraph_track.errors import UserError
from scenegraph_track.language.synchronous import Words


class HubText(nn.Module):
    """A text model by its hub id or folder, its layers in groups that advance one by one.

    What the layers want besides the words (attention masks, positions) is taken from a run of the whole model, so that
    any encoder works whose layers lie in one list and pass their first argument on: BERT, RoBERTa, CLIP's text tower
    and the like.

    Args:
        name: A hub id or a folder with the model and its tokenizer.
        groups: Number of groups, at most that of the layers.
        trained: Whether its weights are trained.

    Raises:
        UserError: There is no such model, or it has no list of so many layers.
    """

    def __init__(self, name: str | Path, groups: int = 3, trained: bool = False) -> None:
        super().__init__()
        self.model, self.tokenizer = _loaded(name)
        self.model.requires_grad_(trained)
        self.layers = _layers(self.model, name)
        if not 1 <= groups <= len(self.layers):
            raise UserError(
                f"{name}: expected 1 to {len(self.layers)} groups of {len(self.layers)} layers, found {groups}"
            )
        self.groups = groups
        self.dim = int(self.model.config.hidden_size)
        self.nothing = int(self.tokenizer.pad_token_id or 0)
        self.longest = int(getattr(self.model.config, "max_position_embeddings", 40))

    def read(self, texts: Sequence[str]) -> Tensor:
        """Numbers (B, W) of sentences, `nothing` behind their ends."""
        rows = [self.tokenizer(text, truncation=True, max_length=self.longest)["input_ids"] for text in texts]
        ids = torch.full((len(rows), max(map(len, rows))), self.nothing)
        for row, numbers in enumerate(rows):
            ids[row, : len(numbers)] = torch.tensor(numbers)
        return ids

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of a sentence that the tokenizer reads as unknown."""
        none = self.tokenizer.unk_token_id
        words = text.lower().split()
        return tuple(w for w in words if none in self.tokenizer(w, add_special_tokens=False)["input_ids"])

    def start(self, ids: Tensor) -> Words:
        """See `TextGroups`; runs the whole model once, to learn what its layers are given."""
        # the token of the end may have the number of the padding, so what counts is where the last other token is
        padding = (ids != self.nothing).flip(1).float().argmax(1)
        ends = int(self.tokenizer.eos_token_id == self.nothing)
        spoken = torch.arange(ids.shape[1], device=ids.device) < (ids.shape[1] - padding + ends)[:, None]
        given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def remember(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            given.append((positional, named))

        hooks = [layer.register_forward_pre_hook(remember, with_kwargs=True) for layer in self.layers]
        try:
            with torch.set_grad_enabled(any(p.requires_grad for p in self.model.parameters())):
                self.model(input_ids=ids, attention_mask=spoken.long())
        finally:
            for hook in hooks:
                hook.remove()
        positional, named = given[0]
        first = positional[0] if positional else named["hidden_states"]
        return Words(first, spoken, given)

    def advance(self, group: int, words: Words) -> Words:
        """See `TextGroups`."""
        count, tokens = len(self.layers), words.tokens
        given: Any = words.extra
        for number in range(round(count * group / self.groups), round(count * (group + 1) / self.groups)):
            positional, named = given[number]
            if positional:
                found = self.layers[number](tokens, *positional[1:], **named)
            else:
                found = self.layers[number](**{**named, "hidden_states": tokens})
            tokens = found[0] if isinstance(found, tuple) else found
        return Words(tokens, words.spoken, words.extra)


def _loaded(name: str | Path) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(str(name))
        model = _text_model(str(name), config) or AutoModel.from_pretrained(str(name))
        tokenizer = AutoTokenizer.from_pretrained(str(name))
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"text encoder {name}: expected a text model of transformers by hub id or folder ({reason})"
        ) from None
    return model.eval(), tokenizer


def _text_model(name: str, config: Any) -> Any:
    """The text tower of CLIP; None of other kinds."""
    if config.model_type not in ("clip", "clip_text_model"):
        return None
    from transformers import CLIPTextModel

    return CLIPTextModel.from_pretrained(name)


def _layers(model: nn.Module, name: str | Path) -> nn.ModuleList:
    """The list of layers: the longest one."""
    lists = [one for one in model.modules() if isinstance(one, nn.ModuleList)]
    if not lists:
        raise UserError(f"text encoder {name}: expected a model with a list of layers, found {type(model).__name__}")
    return max(lists, key=len)
