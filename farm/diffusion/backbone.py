"""The one door for diffusion weights: any Stable Diffusion folder or hub id → ``Backbone`` (decision 6).

Only importer of diffusers' and transformers' models. Everything is read from the folder's configs: latent channels,
scale, resolution factor, text length, schedule. The autoencoder computes in float32 whatever the dtype of the
networks is, since its error is the floor of the background error.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.utils import logging as transformers_logging

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.attention import RegionAttention
from farm.diffusion.latents import Pixels, decode, encode, to_unit
from farm.diffusion.schedule import Schedule, read_schedule
from farm.diffusion.weights import folder_fingerprint, model_folder, read_json
from farm.errors import ResourceError, WeightsError

_AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Backbone:
    """A frozen text-to-image latent diffusion model. Row i of what it gives depends on row i of its input alone."""

    def __init__(
        self, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, schedule: Schedule, fingerprint: str
    ) -> None:
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.schedule, self.fingerprint = schedule, fingerprint
        self.latent_channels = int(vae.config.latent_channels)
        self.factor = 2 ** (len(vae.config.get("encoder_block_out_channels", vae.config.block_out_channels)) - 1)
        self._prompts: dict[str, Tensor] = {}
        for network in (unet, vae, text_encoder):
            network.eval().requires_grad_(False)
        unet.set_attn_processor(RegionAttention())

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return torch.device(self.unet.device)

    @property
    def dtype(self) -> torch.dtype:
        """What the noise predictor and the text encoder compute in."""
        dtype: torch.dtype = self.unet.dtype
        return dtype

    def to(self, device: str | torch.device, dtype: torch.dtype) -> "Backbone":
        """Move in place: networks to ``dtype``, the autoencoder stays float32."""
        with _quiet():
            self.unet.to(device=device, dtype=dtype)
            self.text_encoder.to(device=device, dtype=dtype)
            self.vae.to(device=device, dtype=torch.float32)
        self._prompts.clear()
        return self

    def encode(self, images: Pixels) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, C, h, w): scaled posterior mean."""
        return encode(self.vae, to_unit(images).to(self.device))

    def decode(self, z: Tensor) -> Tensor:
        """float32 (B, C, h, w) -> float32 (B, 3, H, W), about [-1, 1]; ``latents.to_pixels`` makes bytes of it."""
        return decode(self.vae, z.float())

    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """(B, L, D): the text encoder's last state, each prompt encoded alone and remembered."""
        for prompt in set(prompts) - self._prompts.keys():
            self._prompts[prompt] = self._embed(prompt)
        return torch.stack([self._prompts[prompt] for prompt in prompts])

    def predict(
        self, z: Tensor, time: int | Tensor, text: Tensor, regions: Mapping[int, Tensor] | None = None
    ) -> Tensor:
        """Predicted noise in the dtype of ``z`` (B, C, h, w); ``time`` is one training time or (B,) of them.

        ``text`` is (B, L, D); with ``regions`` (``attention.mask_pyramid``) it is (B, 2L, D), C1 before C2.
        A v-prediction model's output is turned into noise (Salimans and Ho 2022, arXiv 2202.00512, appendix D).
        """
        times = torch.as_tensor(time, device=z.device).expand(len(z))
        kwargs = None if regions is None else {"regions": regions}
        output: Tensor = self.unet(
            z.to(self.dtype), times, encoder_hidden_states=text.to(self.dtype), cross_attention_kwargs=kwargs
        ).sample
        output = output.to(z.dtype)
        if self.schedule.prediction == "epsilon":
            return output
        abar = torch.from_numpy(self.schedule.abar).to(z.device)[times][:, None, None, None]
        return abar.sqrt().to(z.dtype) * output + (1 - abar).sqrt().to(z.dtype) * z

    def _embed(self, prompt: str) -> Tensor:
        length = min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)
        ids = self.tokenizer([prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        state: Tensor = self.text_encoder(ids.input_ids.to(self.device)).last_hidden_state
        return state[0]


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
    autoencoder = _AUTOENCODERS[read_json(folder / "model_index.json")["vae"][1]]
    where = folder / "scheduler" / "scheduler_config.json"
    schedule = read_schedule(read_json(where), str(where))
    with _quiet():
        unet = _load_network(UNet2DConditionModel, folder / "unet", torch_dtype=_DTYPES[dtype])
        vae = _load_network(autoencoder, folder / "vae", torch_dtype=torch.float32)
        text_encoder = _load_network(CLIPTextModel, folder / "text_encoder", dtype=_DTYPES[dtype])
        tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
    _check_fit(folder, unet, vae, text_encoder, tokenizer)
    return Backbone(unet, vae, text_encoder, tokenizer, schedule, fingerprint).to(device, _DTYPES[dtype])


def _load_network(network: Any, folder: Path, **dtype: torch.dtype) -> Any:
    try:
        loaded, info = network.from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, output_loading_info=True, **dtype
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder}: cannot be loaded as {network.__name__}: {error}") from error
    missing = sorted(str(key) for name in ("missing_keys", "mismatched_keys") for key in info[name])
    if missing:
        raise WeightsError(
            f"{folder}: {len(missing)} tensor(s) of {network.__name__} are missing or of another shape, "
            f"first {missing[0]}; the weights must be made by the config beside them"
        )
    return loaded


def _check_fit(folder: Path, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any) -> None:
    channels, width = int(vae.config.latent_channels), int(text_encoder.config.hidden_size)
    for name, found, right in (
        ("unet in_channels", unet.config.in_channels, channels),
        ("unet out_channels", unet.config.out_channels, channels),
        ("unet cross_attention_dim", unet.config.cross_attention_dim, width),
    ):
        if found != right:
            raise WeightsError(f"{folder}: {name} is {found}; the vae has {channels} latent channels and text {width}")
    if len(tokenizer) > text_encoder.config.vocab_size:
        raise WeightsError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens but the text encoder "
            f"{text_encoder.config.vocab_size}; take both from one model"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and load reports of the two libraries; what matters in them is checked and raised."""
    logs = (diffusers_logging, transformers_logging)
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, (verbosity, bars) in zip(logs, before, strict=True):
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()
