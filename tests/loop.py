"""The stages of a run called one after the other in this process: what the Ray pipeline must equal byte for byte."""

from functools import partial

from farm import rounds
from farm.config import Run
from farm.diffusion.backbone import load_backbone
from farm.diffusion.inversion import Inverter
from farm.embedders import load_embedder
from farm.prepare import prepare
from farm.rounds import open_plan
from farm.settle_folder import settle_folder, settled
from farm.source_index import read_index
from farm.stages.embed import Embed
from farm.stages.generate import Generate
from farm.stages.invert import InversionBlocks, Invert, needs_inversion
from farm.stages.photo_vectors import PhotoVectors
from farm.stages.sources import Sources
from farm.stages.tentative import Tentative
from farm.stages.write import Write


def run_in_a_loop(run: Run) -> None:
    """Generate and judge ``run`` without Ray."""
    folder, plan = prepare(run)
    photos, model = read_index(folder), folder.fingerprints()["model"]
    blocks = {}
    for arm, method in zip(run.arm_names(), run.methods, strict=True):
        if needs_inversion(method):
            blocks[arm] = InversionBlocks(folder, plan, arm, model)
            sources = Sources(run, photos)
            inverter = Inverter(load_backbone(run.model, run.compute), method.steps, method.fixed_point, 4)
            stage = Invert(run, lambda name, sources=sources: sources.source(name)[0], inverter)
            for block in range(len(blocks[arm])):
                blocks[arm].write(block, *stage.block(blocks[arm].photos(block)), {})
    generate = Generate(run, photos, plan, lambda arm, photo: blocks[arm].trajectory(photo))
    embedder = load_embedder(run.embed, run.compute)
    vectors = PhotoVectors(folder, photos)
    for block in range(len(vectors)):
        vectors.embed(block, run, embedder)
    tentative = Tentative(folder)
    judge = tentative.judge(run, photos)
    embed, write = Embed(embedder, run.embed), Write(folder, plan)
    for number in range(plan.round_count):
        if not rounds.is_decided(folder, number):
            rounds.decide(folder, plan, number, partial(settled, folder))
            plan = generate.plan = write.plan = open_plan(folder, run, photos, model)
        for shard in reversed(plan.round_shards(number)):
            batch, costs = generate.shard(shard)
            batch |= embed.rows(batch, run.compute.batch_size)
            write.commit(shard, batch, {"generate_s": 0.0, "embed_s": 0.0, "by_method": costs})
            tentative.write(shard, judge)
    settle_folder(folder)
