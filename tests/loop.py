"""The stages of a run called one after the other in this process: what the Ray pipeline must equal byte for byte."""

from farm.config import Run
from farm.diffusion.backbone import load_backbone
from farm.diffusion.inversion import Inverter
from farm.embedders import load_embedder
from farm.prepare import prepare
from farm.settle_folder import settle_folder
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
    embed, write = Embed(embedder), Write(folder, plan)
    for shard in reversed(range(plan.shard_count)):
        batch, costs = generate.shard(shard)
        batch["embedding"] = embed.vectors(batch["image_png"], batch["sample_id"])
        write.commit(shard, batch, {"generate_s": 0.0, "embed_s": 0.0, "by_method": costs})
    normals = PhotoVectors(folder, photos)
    for block in range(len(normals)):
        normals.embed(block, run, embedder)
    tentative = Tentative(folder)
    judge = tentative.judge(run, photos)
    for shard in reversed(range(plan.shard_count)):
        tentative.write(shard, judge)
    settle_folder(folder)
