"""Near-duplicates among millions of unit vectors, with the same answer for every order, batch and number of workers.

Rows have ranks: 0 is the best. Going down the ranks, a row is refused by the best kept row that is too near to it
(cosine at least ``threshold``) and kept where there is none; a refused row refuses nobody. So of two rows that are too
near the better stays, and whoever refuses is in the kept set.

The search is exact. A coarse quantiser (``Cells``) gives each vector a home cell, and a row looks for better rows in
all cells where one that is too near to it may live (``Looks``), which are few. Cosines that decide are computed in
float64, pair by pair, wherever float32 leaves a doubt. So the answer is a function of vectors, ranks and threshold
alone. SemDeDup (Abbas et al. 2023) compares within a cell only, which is ``Cells.home``.
"""

from farm.dedup.blocks import Blocks
from farm.dedup.buckets import Buckets
from farm.dedup.cells import Cells, Looks, cells_for
from farm.dedup.greedy import near_duplicates, ranks, resolve

__all__ = ["Blocks", "Buckets", "Cells", "Looks", "cells_for", "near_duplicates", "ranks", "resolve"]
