"""The one door for diffusion weights: any Stable Diffusion folder or hub id → ``Backbone`` (decision 6).

Everything is read from the folder's configs: latent channels, scale, resolution factor, text length, schedule. The
autoencoder computes in float32 whatever the dtype of the networks is, since its error is the floor of the background
error. A loaded backbone is shared and frozen; what is trained or adapted is a ``private`` copy of it.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion import control, lora
from farm.diffusion.attention import RegionAttention
from farm.diffusion.control import Residuals
from farm.diffusion.latents import Pixels, decode, encode, to_unit
from farm.diffusion.loading import load_networks, quiet
from farm.diffusion.schedule import Schedule, read_schedule
from farm.diffusion.text import Prompts, Text
from farm.diffusion.weights import folder_fingerprint, model_folder
from farm.errors import ResourceError
from farm.model_files import read_json

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Backbone:
    """A frozen text-to-image latent diffusion model. Row i of what it gives depends on row i of its input alone."""

    def __init__(
        self,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        schedule: Schedule,
        fingerprint: str,
        second: tuple[Any, Any] | None = None,
        zero_empty: bool = False,
    ) -> None:
        """``second``: text encoder and tokenizer that Stable Diffusion XL reads beside the first."""
        pairs = [(text_encoder, tokenizer), *([] if second is None else [second])]
        self.unet, self.vae = unet, vae
        self.prompts = Prompts([encoder for encoder, _ in pairs], [tokenizer for _, tokenizer in pairs], zero_empty)
        self.schedule, self.fingerprint = schedule, fingerprint
        self.latent_channels = int(vae.config.latent_channels)
        self.factor = 2 ** (len(vae.config.get("encoder_block_out_channels", vae.config.block_out_channels)) - 1)
        for network in (unet, vae, self.prompts.encoders):
            network.eval().requires_grad_(False)
        unet.set_attn_processor(RegionAttention())

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return torch.device(self.unet.device)

    @property
    def dtype(self) -> torch.dtype:
        """What the noise predictor and the text encoders compute in."""
        dtype: torch.dtype = self.unet.dtype
        return dtype

    @property
    def text_encoder(self) -> Any:
        """The first text encoder."""
        return self.prompts.encoders[0]

    @property
    def tokenizer(self) -> Any:
        """The first tokenizer."""
        return self.prompts.tokenizers[0]

    @property
    def instruct(self) -> bool:
        """Whether the U-Net reads an image beside the latent (Brooks et al. 2022, arXiv 2211.09800): ``extra``."""
        return int(self.unet.config.in_channels) == 2 * self.latent_channels

    def to(self, device: str | torch.device, dtype: torch.dtype) -> "Backbone":
        """Move in place: networks to ``dtype``; the autoencoder, adapters and learned tokens are float32."""
        adapter = [(parameter, parameter.data) for parameter in self.lora_parameters()]
        with quiet():
            self.unet.to(device=device, dtype=dtype)
            self.vae.to(device=device, dtype=torch.float32)
        for parameter, value in adapter:
            parameter.data = value.to(device)
        self.prompts.to(device, dtype)
        return self

    def private(self) -> "Backbone":
        """A frozen copy with its own U-Net, text encoders and tokenizers; the autoencoder is shared."""
        unet, prompts = deepcopy((self.unet, self.prompts))
        pairs = list(zip(prompts.encoders, prompts.tokenizers, strict=True))
        second = pairs[1] if len(pairs) > 1 else None
        return Backbone(unet, self.vae, *pairs[0], self.schedule, self.fingerprint, second, prompts.zero_empty)

    def encode(self, images: Pixels) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, C, h, w): scaled posterior mean."""
        return encode(self.vae, to_unit(images).to(self.device))

    def decode(self, z: Tensor) -> Tensor:
        """float32 (B, C, h, w) -> float32 (B, 3, H, W), about [-1, 1]; ``latents.to_pixels`` makes bytes of it."""
        return decode(self.vae, z.float())

    def embed_prompts(self, prompts: Sequence[str]) -> Text:
        """B encoded prompts without a gradient, each encoded alone and remembered until a learned token moves."""
        return self.prompts.embed(prompts)

    def embed_live(self, prompts: Sequence[str]) -> Text:
        """The same, computed anew and with a gradient to learned tokens."""
        return self.prompts.embed_live(prompts)

    def predict(
        self,
        z: Tensor,
        time: int | Tensor,
        text: Text,
        regions: Mapping[int, Tensor] | None = None,
        residuals: Residuals | None = None,
        extra: Tensor | None = None,
        memory: Any | None = None,
    ) -> Tensor:
        """Predicted noise in the dtype of ``z`` (B, C, h, w); ``time`` is one training time or (B,) of them.

        With ``regions`` (``attention.mask_pyramid``) the text is ``C1.beside(C2)``. ``residuals`` come from
        ``control_residuals``. ``extra`` (B, C, h, w) is for ``instruct`` models: the photograph's posterior mean
        as the autoencoder gives it, *without* scale and shift, or zeros where it is to be ignored. ``memory`` goes to
        the attention of ``farm.diffusion.dual``.
        A v-prediction model's output is turned into noise (Salimans and Ho 2022, arXiv 2202.00512, appendix D).
        """
        times = torch.as_tensor(time, device=z.device).expand(len(z))
        down, middle = (None, None) if residuals is None else residuals
        attention = {"regions": regions, "memory": memory}
        output: Tensor = self.unet(
            (z if extra is None else torch.cat([z, extra.to(z)], dim=1)).to(self.dtype),
            times,
            encoder_hidden_states=text.states.to(self.dtype),
            cross_attention_kwargs={name: value for name, value in attention.items() if value is not None} or None,
            added_cond_kwargs=self._added(z, text),
            down_block_additional_residuals=None if down is None else tuple(skip.to(self.dtype) for skip in down),
            mid_block_additional_residual=None if middle is None else middle.to(self.dtype),
        ).sample
        output = output.to(z.dtype)
        if self.schedule.prediction == "epsilon":
            return output
        abar = torch.from_numpy(self.schedule.abar).to(z.device)[times][:, None, None, None]
        return abar.sqrt().to(z.dtype) * output + (1 - abar).sqrt().to(z.dtype) * z

    def add_lora(self, rank: int, seed: int) -> None:
        """Give the U-Net's attention a trainable adapter that changes nothing yet; see ``farm.diffusion.lora``."""
        lora.add_lora(self.unet, rank, seed)

    def lora_parameters(self) -> list[nn.Parameter]:
        """The adapter's matrices, float32; empty without an adapter."""
        return lora.lora_parameters(self.unet)

    def lora_state(self) -> dict[str, Tensor]:
        """A copy of the adapter on the CPU, by name."""
        return lora.lora_state(self.unet)

    def load_lora(self, state: Mapping[str, Tensor], rank: int) -> None:
        """Put ``state`` into the adapter, adding a frozen one where there is none; ``WeightsError`` if unfitting."""
        lora.load_lora(self.unet, state, rank)

    def merge_lora(self) -> None:
        """Add the adapter to the weights and take it away: the same to rounding, at the base model's speed."""
        lora.merge_lora(self.unet)

    def add_token(self, token: str, like: str, seed: int) -> None:
        """Learn the word ``token``, starting as the mean of the words ``like``; see ``farm.diffusion.tokens``."""
        self.prompts.add_token(token, like, seed)

    def set_token(self, token: str, vector: Tensor) -> None:
        """Give ``token`` its vector (D,); an unknown token is added, frozen."""
        self.prompts.set_token(token, vector)

    def token_vectors(self) -> dict[str, Tensor]:
        """A copy (D,) of each learned token's vector; D sums over the text encoders."""
        return self.prompts.token_vectors()

    def token_parameters(self) -> list[nn.Parameter]:
        """The learned rows and nothing else, float32."""
        return self.prompts.token_parameters()

    def control(self, seed: int) -> Any:
        """A trainable control branch (diffusers' ``ControlNetModel``) that changes nothing yet; copies the U-Net."""
        return control.build_control(self.unet, self.factor, seed)

    def control_residuals(
        self, branch: Any, z: Tensor, time: int | Tensor, text: Text | None, hint: Tensor, scale: float = 1.0
    ) -> Residuals:
        """What ``branch`` adds to the U-Net for the hint (B, 3, H, W) in [0, 1], ``scale`` times.

        ``text`` None is the empty prompt, which the branch of card 004 always reads.
        """
        text = self.embed_prompts([""] * len(z)) if text is None else text
        times = torch.as_tensor(time, device=z.device).expand(len(z))
        return control.control_residuals(branch, z, times, text, hint, scale, self._added(z, text))

    def _added(self, z: Tensor, text: Text) -> dict[str, Tensor] | None:
        """Pooled text and sizes for Stable Diffusion XL: the image is whole, neither resized nor cropped."""
        if text.pooled is None:
            return None
        height, width = (side * self.factor for side in z.shape[-2:])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=z.device)
        return {"text_embeds": text.pooled.to(self.dtype), "time_ids": sizes.expand(len(z), -1)}


def load_backbone(model: ModelConfig, compute: ComputeConfig) -> Backbone:
    """The backbone of ``model`` as ``compute`` says, shared by all callers in this process.

    Raises ``WeightsError`` (missing, unsafe or unfitting weights) or ``ResourceError`` (no such device).
    """
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("compute.device is cuda, but torch sees no CUDA device here; set compute.device to cpu")
    torch.set_num_threads(compute.threads)
    folder = model_folder(model)
    return _load(folder, folder_fingerprint(folder), compute.device, compute.dtype)


@lru_cache(maxsize=2)
def _load(folder: Path, fingerprint: str, device: str, dtype: str) -> Backbone:
    where = folder / "scheduler" / "scheduler_config.json"
    schedule = read_schedule(read_json(where), str(where))
    parts = load_networks(folder, _DTYPES[dtype])
    pairs = list(zip(parts.encoders, parts.tokenizers, strict=True))
    second = pairs[1] if len(pairs) > 1 else None
    backbone = Backbone(parts.unet, parts.vae, *pairs[0], schedule, fingerprint, second, parts.zero_empty)
    return backbone.to(device, _DTYPES[dtype])
