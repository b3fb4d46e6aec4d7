"""The prompt that fits the normals best (card 002 section 4.1).

    P_t = "a {W_o} with {W_t}",    P* = argmax_t (1/n) sum_i cos(CLIP_I(x_i), CLIP_T(P_t))

Equal means go to the first text in alphabetical order, so that the library's order decides nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.errors import ConfigError
from farm.variational.words import is_blocked, without_blocked

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """The chosen prompt, its mean cosine with the normals, and its unit vector (D,)."""

    prompt: str
    cosine: float
    vector: Vectors


def keyword_of(category: str, keyword: str | None) -> str:
    """W_o: ``keyword``, or the category's name without words of damage.

    Raises ``ConfigError`` where the keyword names a defect, or nothing of the category's name is left.
    """
    if keyword is None:
        found = without_blocked(category)
        if not found:
            raise ConfigError(f"variational: category '{category}' names no product; set keyword, e.g. 'metal nut'")
        return found
    if is_blocked(keyword):
        raise ConfigError(
            f"variational: keyword '{keyword}' has a word of damage in it; the method makes normal "
            f"images: name the product alone, e.g. '{without_blocked(keyword) or 'metal nut'}'"
        )
    return " ".join(keyword.split())


def prompts(keyword: str, words: Iterable[str]) -> tuple[str, ...]:
    """P_t of each word that is not blocked, sorted, each once."""
    return tuple(sorted({f"a {keyword} with {word}" for word in words if not is_blocked(word)}))


def choose(keyword: str, words: Iterable[str], images_ND: Vectors, read: Callable[[Sequence[str]], Vectors]) -> Choice:
    """P* among ``prompts(keyword, words)`` for the normals' unit vectors; ``read`` gives (T, D) unit vectors of texts.

    Means are compared after rounding to 6 places: what differs by less is a tie. Raises ``ConfigError`` where no word
    is left.
    """
    texts = prompts(keyword, words)
    if not texts:
        raise ConfigError(f"variational: no word that may stand beside '{keyword}'; all of those given are of damage")
    vectors = read(texts)
    means = (vectors.astype(np.float64) @ images_ND.T.astype(np.float64)).mean(axis=1)
    best = int(np.argmax(means.round(6)))
    return Choice(texts[best], float(means[best]), vectors[best])
