"""The small CLIP's training: contrastive between pictures and sentences about them.

Loss: Radford et al. 2021 (arXiv 2103.00020), figure 3, with two changes. A sentence that is true of another picture of
the batch too is no negative of it (a batch holds the same caption many times). And each picture of a pair is asked a
second time with the pair's two sentences alone: whether there is a defect is decided among one wrong sentence in 64
otherwise. Both pictures of a pair and pairs of the same surface share a batch.
"""

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from farm.fitting.task import Part
from farm.mini.clip_pairs import ANY, Pairs, draw_groups, faulty_sentence, sound_sentence
from farm.mini.export import clip_config
from farm.mini.recipe import Recipe
from farm.mini.tokenizer import encode
from farm.pretrained import efficientnet_lite0

NAME = "defectfarm-mini"
SOUND = ""  # the state of a sentence about a picture without a defect
SMALLEST = float("-inf")


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
    """Bring pictures and their sentences together."""

    name = "clip"

    def __init__(self, recipe: Recipe, pairs: Pairs, tokenizer: Any) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.pairs, self.tokenizer = recipe.clip, pairs, tokenizer
        self.among = {
            name: np.array([row for row, surface in enumerate(pairs.surfaces) if surface == name])
            for name in sorted(set(pairs.surfaces))
        }
        clip = build_clip(recipe, len(tokenizer))
        clip.visual.trunk.eval()  # ImageNet statistics stay: batches are small
        self.tuned = open_stages(clip.visual.trunk, recipe.clip.frozen_stages)
        self.networks = nn.ModuleDict({"clip": clip.to(memory_format=torch.channels_last)})
        self.device = torch.device("cpu")

    def groups(self, lr: float) -> list[dict[str, object]]:
        """Two groups: the open part of the ImageNet tower at its share of the rate, everything else at the whole."""
        clip: Any = self.networks["clip"]
        trunk = {id(parameter) for parameter in clip.visual.trunk.parameters()}
        rest = [parameter for parameter in clip.parameters() if id(parameter) not in trunk]
        groups: list[dict[str, object]] = [{"params": rest, "lr": lr}]
        if self.tuned:
            groups.append({"params": self.tuned, "lr": lr * self.recipe.image_lr})
        return groups

    def to(self, device: torch.device) -> None:
        """Move both towers."""
        self.networks.to(device)
        self.device = device

    def loss(self, _step: int, draw: torch.Generator, part: Part) -> dict[str, Tensor]:
        """The contrast over the pictures of ``part``, which is its own batch, and within its pairs.

        A picture is told from the sentences of its part alone, so this loss does depend on the number of parts.
        """
        count = self.recipe.loop.batch_size // 2
        each = min(self.recipe.group_pairs, count)
        drawn = draw_groups(self.among, count // each, each, draw)
        flips = (torch.rand(len(drawn), generator=draw) < 0.5).tolist()
        texts = list[str]()
        states = list[tuple[str, str]]()
        for row in drawn:
            told, state = faulty_sentence(self.pairs.captions[row], self.pairs.defects[row], draw)
            texts += [sound_sentence(self.pairs.captions[row][0], draw), told]
            states += [(self.pairs.surfaces[row], SOUND), (self.pairs.surfaces[row], state)]
        mine = part.rows(len(drawn))
        both = [index for pair in range(len(drawn))[mine] for index in (2 * pair, 2 * pair + 1)]
        rows = drawn[mine]
        images = np.concatenate(
            [
                self.pairs.images[row][:, :, ::-1] if flip else self.pairs.images[row]
                for row, flip in zip(rows, flips[mine], strict=True)
            ]
        )
        shown = [(self.pairs.surfaces[row], name) for row in rows for name in (SOUND, self.pairs.defects[row])]
        return self._contrast(images, shown, [texts[index] for index in both], [states[index] for index in both])

    def _contrast(
        self, images: np.ndarray, shown: list[tuple[str, str]], texts: list[str], states: list[tuple[str, str]]
    ) -> dict[str, Tensor]:
        clip: Any = self.networks["clip"]
        inputs = preprocess(images, self.recipe.image_px).to(self.device, memory_format=torch.channels_last)
        image = F.normalize(encode_image(clip.visual, inputs, self.recipe.frozen_stages), dim=-1)
        ids = encode(self.tokenizer, texts, self.recipe.context).to(self.device)
        text = F.normalize(clip.encode_text(ids), dim=-1)
        logits = clip.logit_scale.exp().clamp(max=100) * image @ text.T
        own = torch.arange(len(texts), device=self.device)
        other = true_of(shown, states).to(self.device).fill_diagonal_(False)
        among_all = logits.masked_fill(other, SMALLEST)
        matched = 0.5 * (F.cross_entropy(among_all, own) + F.cross_entropy(among_all.T, own))
        twins = torch.stack([logits[own, own], logits[own, own ^ 1]], dim=1)
        within = F.cross_entropy(twins, torch.zeros_like(own))
        return {
            "loss": matched + self.recipe.pair_weight * within,
            "matched": matched.detach(),
            "within": within.detach(),
            "right": (among_all.argmax(dim=1) == own).float().mean().detach(),
            "sound_or_not": (twins[:, 0] > twins[:, 1]).float().mean().detach(),
        }


def true_of(shown: list[tuple[str, str]], states: list[tuple[str, str]]) -> Tensor:
    """(I, J) bool: whether sentence j, which tells (surface, state), is or may be true of picture i."""
    return torch.tensor(
        [
            [surface == on and (state == told or (told == ANY and state != SOUND)) for on, told in states]
            for surface, state in shown
        ]
    )


def open_stages(trunk: Any, frozen: int) -> list[nn.Parameter]:
    """Lock the stem, the first ``frozen`` of the tower's seven stages and all depthwise filters; gives what is open.

    On a CPU a depthwise filter's gradient costs as much as all else of its block. The open 1 x 1 convolutions are
    computed in bfloat16, which halves the rest.
    """
    locked = [trunk.conv_stem, trunk.bn1, *trunk.blocks[:frozen], *([trunk] if frozen > len(trunk.blocks) else [])]
    for module in locked:
        module.requires_grad_(False)
    for layer in (layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d)):
        if layer.groups > 1:
            layer.requires_grad_(False)
        elif layer.kernel_size == (1, 1):
            layer.forward = partial(_pointwise, layer)  # type: ignore[method-assign]
    return [parameter for parameter in trunk.parameters() if parameter.requires_grad]


def _pointwise(layer: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    return F.conv2d(x_BCHW.bfloat16(), layer.weight.bfloat16()).float()


def encode_image(visual: Any, x_BCHW: Tensor, frozen: int) -> Tensor:
    """What ``visual(x)`` gives, without a graph through the first ``frozen`` stages, and those in bfloat16."""
    trunk = visual.trunk
    with torch.no_grad(), torch.autocast(x_BCHW.device.type, torch.bfloat16):
        x = trunk.blocks[:frozen](trunk.bn1(trunk.conv_stem(x_BCHW)))
    x = trunk.bn2(trunk.conv_head(trunk.blocks[frozen:](x.float())))
    features: Tensor = visual.head(trunk.forward_head(x))
    return features


def preprocess(images: np.ndarray, size_px: int) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, size, size), as the folder's open_clip transform scales it."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().sub(127).div(128)
    if x.shape[-1] != size_px:
        x = F.interpolate(x, (size_px, size_px), mode="bicubic", antialias=True)
    return x
