"""A budget that learns: rounds of rows, and for each round the shares of the arms that make a defect.

A round's shares are a function of what the rounds before it committed, so that the plan stays a function, and of
evaluations of the network, not of seconds, so that it is the same on every machine. For each arm the share of images
that are kept has a Beta posterior; Thompson sampling (1933) gives an arm the probability that it keeps the most images
for its cost, and every arm keeps ``explore`` of the shares so that none is given up for good. What a defect gets stays
fixed: arms compete only for the rows of a defect that they can make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.config import BudgetConfig
from farm.ids import generator

DRAWS = 4000
Arm = tuple[str, str]  # (arm of the config, defect)


@dataclass(frozen=True)
class Tally:
    """What an arm did for a defect so far."""

    attempts: int = 0
    kept: int = 0
    cost: float = 0.0  # in evaluations of the network, with the flat cost of each attempt

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(self.attempts + other.attempts, self.kept + other.kept, self.cost + other.cost)


def next_shares(
    budget: BudgetConfig, tallies: Mapping[Arm, Tally], arms: Sequence[str], defect: str, seed: int, number: int
) -> dict[str, float]:
    """The shares of ``arms`` among the rows of ``defect`` in round ``number``, summing to 1.

    An arm that was never tried is taken to cost as little as the cheapest.
    """
    known = [tallies.get((arm, defect), Tally()) for arm in arms]
    tried = [tally for tally in known if tally.attempts]
    if not tried:
        return dict.fromkeys(arms, 1 / len(arms))
    least = min(tally.cost / tally.attempts for tally in tried)
    each = np.array([tally.cost / tally.attempts if tally.attempts else least for tally in known])
    rng = generator(seed, f"budget {number} {defect}")
    kept = np.array([tally.kept for tally in known])
    lost = np.array([tally.attempts - tally.kept for tally in known])
    worth: npt.NDArray[np.float64] = rng.beta(kept + 1, lost + 1, (DRAWS, len(arms))) / np.maximum(each, 1e-9)
    best = np.bincount(worth.argmax(axis=1), minlength=len(arms)) / DRAWS
    shares = budget.explore / len(arms) + (1 - budget.explore) * best
    return {arm: round(float(share), 6) for arm, share in zip(arms, shares, strict=True)}
