"""Prompts as a network reads them: ``Text``, and the encoders that make it (one, or the two of Stable Diffusion XL).

One encoder gives its last state (Rombach et al. 2022, arXiv 2112.10752). Two give the state before the last of each,
side by side along the channels, and the projected state of the second as ``pooled`` (Podell et al. 2023, arXiv
2307.01952, section 2.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from farm.diffusion.tokens import LearnedEmbedding, add_row


@dataclass(frozen=True)
class Text:
    """B encoded prompts."""

    states: Tensor  # (B, L, D); (B, 2L, D) where two texts are read by region
    pooled: Tensor | None = None  # (B, P), Stable Diffusion XL only

    def __len__(self) -> int:
        """B."""
        return len(self.states)

    def __getitem__(self, rows: slice | Tensor) -> "Text":
        """Some of the rows."""
        return Text(self.states[rows], None if self.pooled is None else self.pooled[rows])

    @staticmethod
    def cat(texts: Sequence["Text"]) -> "Text":
        """The rows of all ``texts``, which come from one model."""
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return Text(torch.cat([text.states for text in texts]), torch.cat(pooled) if pooled else None)

    def beside(self, other: "Text") -> "Text":
        """[C1; C2] for masked cross-attention: states joined along L, row by row; ``pooled`` is this text's."""
        return Text(torch.cat([self.states, other.states], dim=1), self.pooled)


class Prompts:
    """Prompts → ``Text``. Each prompt is encoded alone, so that its bits do not depend on its company."""

    def __init__(self, encoders: Sequence[Any], tokenizers: Sequence[Any], zero_empty: bool = False) -> None:
        """``zero_empty``: the empty prompt is all zeros (``force_zeros_for_empty_prompt`` of a pipeline)."""
        self.encoders, self.tokenizers, self.zero_empty = nn.ModuleList(encoders), tuple(tokenizers), zero_empty
        limits = [encoder.config.max_position_embeddings for encoder in encoders]
        self.length = int(min([*limits, *(tokenizer.model_max_length for tokenizer in tokenizers)]))
        self._known: dict[str, Text] = {}
        self._learned = b""

    @property
    def device(self) -> torch.device:
        """Where the encoders are."""
        return next(self.encoders.parameters()).device

    def to(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move in place; learned tokens stay float32."""
        learned = [(vector, vector.data) for vector in self.token_parameters()]
        self.encoders.to(device=device, dtype=dtype)
        for vector, value in learned:
            vector.data = value.to(device)
        self._known.clear()

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Text:
        """Remembered text without a gradient; what was remembered is dropped when a learned token has moved."""
        learned = b"".join(vector.cpu().numpy().tobytes() for vector in self.token_vectors().values())
        if learned != self._learned:
            self._learned = learned
            self._known.clear()
        for prompt in set(prompts) - self._known.keys():
            self._known[prompt] = self._encode(prompt)
        return Text.cat([self._known[prompt] for prompt in prompts])

    def forget(self) -> None:
        """Drop what was remembered; for whoever has changed an encoder's weights."""
        self._known.clear()

    def embed_live(self, prompts: Sequence[str]) -> Text:
        """The same, computed anew and with a gradient to learned tokens and adapters."""
        made = {prompt: self._encode(prompt) for prompt in dict.fromkeys(prompts)}
        return Text.cat([made[prompt] for prompt in prompts])

    def add_token(self, token: str, like: str, seed: int) -> None:
        """Teach every tokenizer ``token``; its vectors start as the mean of those of the words ``like``.

        Without words they are drawn around the mean of the vocabulary, seeded. Raises ``ValueError`` where a
        tokenizer knows the token already.
        """
        for encoder, tokenizer in zip(self.encoders, self.tokenizers, strict=True):
            add_row(encoder, tokenizer, token, like, seed)

    def set_token(self, token: str, vector: Tensor) -> None:
        """Give ``token`` its vector (D,), all encoders' one after another; an unknown token is added, frozen."""
        if token not in self.token_vectors():
            self.add_token(token, "", seed=0)
            for parameter in self._rows(token):
                parameter.requires_grad_(False)
        rows = self._rows(token)
        widths = [len(parameter) for parameter in rows]
        if vector.shape != (sum(widths),):
            raise ValueError(f"vector of {token} has shape {tuple(vector.shape)}; this model reads ({sum(widths)},)")
        for parameter, part in zip(rows, vector.split(widths), strict=True):
            parameter.data.copy_(part)

    def token_vectors(self) -> dict[str, Tensor]:
        """A copy (D,) of each learned token's vector, on the device of the encoders; D sums over encoders."""
        first = _learned(self.encoders[0])
        return {} if first is None else {token: torch.cat(self._rows(token)).detach() for token in first.places}

    def token_parameters(self) -> list[nn.Parameter]:
        """The learned rows and nothing else, float32 (D,) each: no optimiser that has these moves another row."""
        tables = [table for encoder in self.encoders if (table := _learned(encoder)) is not None]
        return [vector for table in tables for vector in table.vectors]

    def _rows(self, token: str) -> tuple[nn.Parameter, ...]:
        tables = [table for encoder in self.encoders if (table := _learned(encoder)) is not None]
        return tuple(table.vectors[table.places[token]] for table in tables)

    def _encode(self, prompt: str) -> Text:
        pairs = zip(self.encoders, self.tokenizers, strict=True)
        ids = [(encoder, self._ids(tokenizer, prompt)) for encoder, tokenizer in pairs]
        if len(ids) == 1:
            return self._blank(Text(ids[0][0](ids[0][1]).last_hidden_state), prompt)
        made = [encoder(row, output_hidden_states=True) for encoder, row in ids]
        states = torch.cat([output.hidden_states[-2] for output in made], dim=-1)
        return self._blank(Text(states, made[-1].text_embeds), prompt)

    def _blank(self, text: Text, prompt: str) -> Text:
        if prompt or not self.zero_empty:
            return text
        return Text(torch.zeros_like(text.states), None if text.pooled is None else torch.zeros_like(text.pooled))

    def _ids(self, tokenizer: Any, prompt: str) -> Tensor:
        made = tokenizer([prompt], padding="max_length", max_length=self.length, truncation=True, return_tensors="pt")
        ids: Tensor = made.input_ids.to(self.device)
        return ids


def _learned(encoder: Any) -> LearnedEmbedding | None:
    table = encoder.get_input_embeddings()
    return table if isinstance(table, LearnedEmbedding) else None
