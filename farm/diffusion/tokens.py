"""New words for a frozen text encoder: one trainable vector each (Gal et al. 2022, arXiv 2208.01618).

The vectors are parameters of their own and not rows of the vocabulary's table. So an optimiser that is given them
cannot touch another row: neither by a gradient nor by weight decay nor by momentum.
"""

from typing import Any

import torch
from tokenizers import AddedToken
from torch import Tensor, nn

from farm.ids import generator


class LearnedEmbedding(nn.Module):
    """A table of token vectors with further rows that are learned; ids (B, L) -> (B, L, D) in the table's dtype."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.vectors = nn.ParameterList()  # float32 (D,) each
        self.ids: list[int] = []  # of each vector
        self.places: dict[str, int] = {}  # token -> its place among the vectors

    @property
    def weight(self) -> Tensor:
        """The vocabulary's own vectors (V, D)."""
        return self.table.weight

    def add(self, token: str, index: int, vector: Tensor) -> None:
        """Read ``vector`` (D,) wherever the id is ``index``."""
        self.places[token] = len(self.ids)
        self.ids.append(index)
        self.vectors.append(nn.Parameter(vector.float().to(self.weight.device)))

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``."""
        rows: Tensor = self.table(ids.clamp(max=self.table.num_embeddings - 1))
        for index, vector in zip(self.ids, self.vectors, strict=True):
            rows = torch.where((ids == index)[..., None], vector.to(rows.dtype), rows)
        return rows


def add_row(encoder: Any, tokenizer: Any, token: str, like: str, seed: int) -> None:
    """Teach one tokenizer and its encoder ``token``, starting at the mean vector of the words ``like``."""
    if not isinstance(encoder.get_input_embeddings(), LearnedEmbedding):
        encoder.set_input_embeddings(LearnedEmbedding(encoder.get_input_embeddings()))
    table: LearnedEmbedding = encoder.get_input_embeddings()
    vector = _first_vector(tokenizer, table.weight, token, like, seed)
    if not tokenizer.add_tokens([AddedToken(token, normalized=False)]):
        raise ValueError(f"the tokenizer knows {token} already; take another name for a learned token")
    table.add(token, int(tokenizer.convert_tokens_to_ids(token)), vector)
    _find_end(encoder, tokenizer)


def _first_vector(tokenizer: Any, weight: Tensor, token: str, like: str, seed: int) -> Tensor:
    ids = [index for index in tokenizer(like, add_special_tokens=False).input_ids if index < len(weight)]
    if ids:
        return weight.detach()[ids].float().mean(0)
    table = weight.detach().float()
    drawn = generator(seed, f"token/{token}").standard_normal(table.shape[1], dtype="float32")
    return table.mean(0) + table.std(0) * torch.from_numpy(drawn).to(table.device)


def _find_end(encoder: Any, tokenizer: Any) -> None:
    """Pool at the end token by its id.

    Configs of 2022 say ``eos_token_id: 2`` and mean "at the highest id", which a learned token now is.
    """
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) == 2:
            module.eos_token_id = tokenizer.eos_token_id
