"""The small CLIP's training: contrastive between pictures and catalogue captions.

Loss: Radford et al. 2021, figure 3, with equal captions in a batch sharing the target (a batch holds the same caption
many times; without this, true pairs would be pushed apart). Both pictures of a rendered pair enter one batch, so
"with a scratch" has to be told from "without" on the same surface.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from farm.mini.data import Pool, draw_rows
from farm.mini.export import clip_config
from farm.mini.recipe import Recipe
from farm.pretrained import efficientnet_lite0

NAME = "defectfarm-mini"


def build_clip(recipe: Recipe, vocabulary: int) -> Any:
    """The open_clip model with the ImageNet tower of the package; the text tower is untrained."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{NAME}.json"
        path.write_text(json.dumps(clip_config(recipe, vocabulary)["model_cfg"]))
        open_clip.add_model_config(path)
    model: Any = open_clip.create_model(NAME)
    trunk = {
        name: value for name, value in efficientnet_lite0().state_dict().items() if not name.startswith("classifier.")
    }
    model.visual.trunk.load_state_dict(trunk)
    return model


class ClipTask:
    """Bring pictures and their captions together."""

    name = "clip"

    def __init__(self, recipe: Recipe, pool: Pool, ids_of: dict[str, Tensor], vocabulary: int) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.pool, self.ids_of = recipe.clip, pool, ids_of
        clip = build_clip(recipe, vocabulary)
        self.networks = nn.ModuleDict({"clip": clip})
        clip.visual.trunk.eval()  # ImageNet statistics stay: batches are small
        if recipe.clip.image_lr == 0:
            clip.visual.trunk.requires_grad_(False)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """Two groups: the ImageNet tower at its share of the rate, everything else at the whole."""
        clip: Any = self.networks["clip"]
        trunk = {id(parameter) for parameter in clip.visual.trunk.parameters()}
        rest = [parameter for parameter in clip.parameters() if id(parameter) not in trunk]
        groups: list[dict[str, object]] = [{"params": rest, "lr": lr}]
        if self.recipe.image_lr > 0:
            groups.append({"params": list(clip.visual.trunk.parameters()), "lr": lr * self.recipe.image_lr})
        return groups

    def loss(self, _step: int, draw: torch.Generator) -> dict[str, Tensor]:
        """Symmetric cross-entropy over the distinct captions of the batch."""
        clip: Any = self.networks["clip"]
        rows = draw_rows(self.pool, np.arange(len(self.pool)), self.recipe.loop.batch_size, draw).tolist()
        flips = (torch.rand(len(rows), generator=draw) < 0.5).tolist()
        images = [
            self.pool.images[row][:, ::-1] if flip else self.pool.images[row]
            for row, flip in zip(rows, flips, strict=True)
        ]
        captions = [self.pool.captions[row] for row in rows]
        distinct = sorted(set(captions))
        target = torch.tensor([distinct.index(text) for text in captions])
        image = F.normalize(clip.encode_image(preprocess(np.stack(images), self.recipe.image_px)), dim=-1)
        text = F.normalize(clip.encode_text(torch.stack([self.ids_of[text] for text in distinct])), dim=-1)
        logits = clip.logit_scale.exp().clamp(max=100) * image @ text.T
        share = F.one_hot(target, len(distinct)).float()
        to_text = F.cross_entropy(logits, target)
        to_image = F.cross_entropy(logits.T, (share / share.sum(dim=0)).T)
        right = (logits.argmax(dim=1) == target).float().mean().detach()
        return {"loss": 0.5 * (to_text + to_image), "right": right}


def preprocess(images: np.ndarray, size_px: int) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, size, size), as the folder's open_clip transform scales it."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().sub(127).div(128)
    if x.shape[-1] != size_px:
        x = F.interpolate(x, (size_px, size_px), mode="bicubic", antialias=True)
    return x
