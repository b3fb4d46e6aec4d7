"""Vectors that lie in several arrays, in any order, read by rank."""

from collections.abc import Sequence

import numpy as np

from farm.dedup.cells import Ranks, Vectors


class Blocks:
    """``parts`` are (n, D) arrays; ``places`` (N,) says for each rank where it stands in them, laid end to end."""

    def __init__(self, parts: Sequence[Vectors], places: Ranks) -> None:
        self.parts, self.places = parts, places
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return len(self.places)

    def of(self, ranks: Ranks) -> "Blocks":
        """Those of ``ranks``, in this order; nothing is copied."""
        return Blocks(self.parts, self.places[ranks])

    def __getitem__(self, ranks: Ranks | slice) -> Vectors:
        """(B,) ranks → (B, D) vectors, float32."""
        places = self.places[ranks]
        if len(self.parts) == 1:
            return np.asarray(self.parts[0][places], np.float32)
        of = np.searchsorted(self._ends, places, side="right")
        found = np.empty((len(places), self.parts[0].shape[1]), np.float32)
        for number in np.unique(of):
            mine = of == number
            found[mine] = self.parts[number][places[mine] - (self._ends[number] - len(self.parts[number]))]
        return found


Laid = Vectors | Blocks  # (N, D) vectors by number
