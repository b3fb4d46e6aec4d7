"""What a step sees: shares, no repeated seed, and nothing but (seed, stage, step, slot) decides it."""

import pytest

from farm.config import StageConfig, TrainConfig
from farm.detector.two_stage import rank_slots, stage_batch
from farm.errors import ConfigError

TRAIN = TrainConfig(stage1=StageConfig(steps=40, batch_size=16), stage2=StageConfig(steps=200, batch_size=20))


def kinds(stage: str, steps: int, batch_size: int) -> list[str]:
    return [kind for step in range(steps) for kind in stage_batch(TRAIN, stage, step, range(batch_size)).kind]


def test_stage_1_is_half_normal_in_every_batch() -> None:
    for step in range(8):
        found = stage_batch(TRAIN, "stage1", step, range(16)).kind
        assert (found.count("normal"), found.count("rules"), found.count("generated")) == (8, 8, 0)


def test_stage_2_keeps_its_shares() -> None:
    found = kinds("stage2", 200, 20)
    shares = {kind: found.count(kind) / len(found) for kind in ("normal", "rules", "generated")}
    assert shares == pytest.approx({"normal": 0.5, "rules": 0.15, "generated": 0.35}, abs=0.002)


def test_no_replay_means_no_rule_image_in_stage_2() -> None:
    train = TRAIN.model_copy(update={"replay": 0.0, "normal_share": 0.25})
    found = [kind for step in range(50) for kind in stage_batch(train, "stage2", step, range(20)).kind]
    assert "rules" not in found
    assert found.count("normal") == 250


def test_no_seed_is_drawn_twice_in_either_stage() -> None:
    seeds = [
        int(seed)
        for stage, steps, size in (("stage1", 300, 16), ("stage2", 200, 20))
        for step in range(steps)
        for seed in stage_batch(TRAIN, stage, step, range(size)).seed
    ]
    assert len(seeds) == 300 * 16 + 200 * 20
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_workers_together_see_the_whole_batch(world: int) -> None:
    whole = stage_batch(TRAIN, "stage2", 7, range(20))
    parts = [stage_batch(TRAIN, "stage2", 7, rank_slots(20, rank, world)) for rank in range(world)]
    assert sum((part.kind for part in parts), ()) == whole.kind
    assert [seed for part in parts for seed in part.seed] == whole.seed.tolist()


def test_another_train_seed_stage_or_step_gives_other_draws() -> None:
    first = stage_batch(TRAIN, "stage1", 3, range(4))
    again = stage_batch(TRAIN, "stage1", 3, range(4))
    assert first.digest() == again.digest()
    other = TRAIN.model_copy(update={"seed": 1})
    others = [(other, "stage1", 3), (TRAIN, "stage2", 3), (TRAIN, "stage1", 4)]
    assert len({stage_batch(*one, range(4)).digest() for one in others} | {first.digest()}) == 4


def test_a_batch_that_workers_cannot_share_is_refused_with_the_next_size() -> None:
    with pytest.raises(ConfigError, match=r"batch_size 16 cannot be shared equally by 3 workers .*e\.g\. 18"):
        rank_slots(16, 0, 3)
    with pytest.raises(ConfigError, match=r"16 .* by 2 workers \(.*\) in 3 parts each \(accumulate\); .* 6, e\.g\. 18"):
        rank_slots(16, 0, 2, parts=3)
