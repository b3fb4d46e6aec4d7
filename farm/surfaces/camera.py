"""From a material to the bytes of an inspection camera: light, lens, sensor, encoding.

Every step is local (a pixel of the photograph depends on the maps within ``Camera.reach_px``), and the light field
and the sensor noise do not depend on the material, so a defect changes the photograph around itself and nowhere else.
Lengths in a camera are pixels of a 128 pixel image; in a larger one they grow slower than its side (a better lens).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from farm.ids import generator
from farm.surfaces import noise
from farm.surfaces.material import Material

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_LUT_SIZE = 4096
_LUT_RANGE = 1.5  # linear light that the encoder still tells from white (soft shoulder)


@dataclass(frozen=True)
class Camera:
    """One sampled set-up of lamp, lens and sensor."""

    azimuth_rad: float  # where the lamp stands
    elevation_rad: float  # pi/2 = on the optical axis
    ambient: float  # share of light without direction, 0..1
    specular: float  # strength of the glossy lobe
    tilt: tuple[float, float]  # relative brightness change across the image, along x and y
    spot: tuple[float, float, float, float]  # hot spot: x, y, radius (image sides), strength
    vignette: float  # darkening at the corners, 0..1
    blur: float  # lens blur, Gaussian sigma
    motion: float  # length of the motion streak; 0 = none
    motion_rad: float
    shot_noise: float  # noise standard deviation at full white, from photons
    read_noise: float  # the same, from electronics
    noise_grain: float  # correlation length of the noise
    column_noise: float  # relative gain error of sensor columns
    exposure: float  # gain on linear light
    cast: tuple[float, float, float]  # gain of R, G and B
    contrast: float  # exponent-like slope around middle grey, 1 = plain sRGB
    black: float  # veiling glare added to linear light
    chroma_blur: float  # softness of colour against luminance, as JPEG leaves it; 0 = none
    monochrome: bool
    binary: bool = False  # threshold at middle grey (bilevel scan)

    def reach_px(self, size_px: int) -> int:
        """How far, in pixels, a change of the maps can be seen in the photograph."""
        scale = _lens_scale(size_px)
        reach = 1 + _radius(self.blur * scale) + _radius(self.chroma_blur * scale)
        return reach + (math.ceil(self.motion * scale / 2) if self.motion else 0)


def draw_camera(rng: np.random.Generator) -> Camera:
    """A random but plausible camera."""
    warm = rng.normal(0, 0.06)
    green = rng.normal(0, 0.025)
    spotlit = rng.random() < 0.4
    return Camera(
        azimuth_rad=rng.uniform(0, 2 * math.pi),
        elevation_rad=rng.uniform(0.45, 1.35),
        ambient=rng.uniform(0.1, 0.6),
        specular=rng.uniform(0.1, 0.9),
        tilt=(rng.normal(0, 0.18), rng.normal(0, 0.18)),
        spot=(rng.random(), rng.random(), rng.uniform(0.25, 0.8), rng.uniform(0.1, 0.9) if spotlit else 0.0),
        vignette=rng.uniform(0, 0.4),
        blur=math.exp(rng.uniform(math.log(0.15), math.log(1.1))),
        motion=rng.uniform(1.5, 4) if rng.random() < 0.1 else 0.0,
        motion_rad=rng.uniform(0, math.pi),
        shot_noise=rng.uniform(0.002, 0.02) if rng.random() < 0.8 else rng.uniform(0.02, 0.05),
        read_noise=rng.uniform(0.0005, 0.004),
        noise_grain=rng.uniform(0.5, 1.0) if rng.random() < 0.5 else 0.0,
        column_noise=rng.uniform(0.003, 0.015) if rng.random() < 0.15 else 0.0,
        exposure=math.exp(rng.normal(0, 0.28)),
        cast=(1 + warm + green / 2, 1 + green, 1 - warm),
        contrast=rng.uniform(0.9, 1.6),
        black=rng.uniform(0, 0.02),
        chroma_blur=rng.uniform(0.4, 1.2) if rng.random() < 0.4 else 0.0,
        monochrome=rng.random() < 0.15,
    )


def metered(camera: Camera, material: Material, key: float = 0.22, strength: float = 0.7) -> Camera:
    """The camera with its exposure moved part of the way to where ``material`` is rendered as middle grey."""
    level = float((material.albedo.reshape(-1, 3) @ _LUMA).mean()) + 0.02
    return replace(camera, exposure=camera.exposure * (key / level) ** strength)


class Shot:
    """A camera ready to press: light field and sensor noise drawn once, for any number of photographs."""

    def __init__(self, camera: Camera, noise_seed: int, size_px: int) -> None:
        self.camera = camera
        self.size_px = size_px
        self.scale = _lens_scale(size_px)
        rng = generator(noise_seed, "sensor")
        self.light = _light_field(camera, size_px)
        if camera.column_noise:
            columns = 1 + np.float32(camera.column_noise) * rng.standard_normal(size_px, np.float32)
            self.light = self.light * columns[None, :]
        channels = 1 if camera.monochrome or camera.binary else 3
        self.noise = _sensor_noise(camera, rng, size_px, channels)
        self.curve = _curve(camera)

    def take(self, material: Material) -> np.ndarray:
        """The photograph, uint8 (H, W, 3) sRGB."""
        camera = self.camera
        diffuse, gleam = _shade(material, camera)
        if self.noise.ndim == 2:
            reflected = material.albedo @ _LUMA
        else:
            reflected = material.albedo
            diffuse, gleam = diffuse[..., None], gleam[..., None]
        light = self.light if self.noise.ndim == 2 else self.light[..., None]
        scene = (reflected * diffuse + gleam) * light
        if self.noise.ndim == 3:
            scene = scene * np.array(camera.cast, np.float32)
        return self._develop(self._through_lens(scene * np.float32(camera.exposure)))

    def _through_lens(self, scene: np.ndarray) -> np.ndarray:
        camera = self.camera
        scene = _gaussian(scene, camera.blur * self.scale)
        if camera.motion:
            kernel = _line_kernel(camera.motion * self.scale, camera.motion_rad)
            scene = cv2.filter2D(scene, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        return scene

    def _develop(self, scene: np.ndarray) -> np.ndarray:
        camera = self.camera
        scene = np.maximum(scene + np.float32(camera.black), 0)
        sigma = np.sqrt(scene * np.float32(camera.shot_noise**2) + np.float32(camera.read_noise**2))
        scene = scene + sigma * self.noise
        if camera.binary:
            return np.repeat(((scene > 0.5) * np.uint8(255))[..., None], 3, axis=2)
        index = np.clip(scene * (_LUT_SIZE / _LUT_RANGE), 0, _LUT_SIZE - 1).astype(np.uint16)
        image = self.curve[index]
        if camera.monochrome:
            return np.repeat(image[..., None], 3, axis=2)
        return _soft_chroma(image, camera.chroma_blur * self.scale) if camera.chroma_blur else image


def photograph(material: Material, camera: Camera, rng_noise_seed: int) -> np.ndarray:
    """The photograph of a material, uint8 (H, W, 3) sRGB; equal seeds give equal noise."""
    return Shot(camera, rng_noise_seed, material.size_px).take(material)


def _shade(material: Material, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Lambert factor (1 on a flat surface) and specular light, from the normals of the height map."""
    height = material.height
    step = np.float32(material.size_px / 128 / 2)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=1, borderType=cv2.BORDER_REFLECT_101) * step
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=1, borderType=cv2.BORDER_REFLECT_101) * step
    up = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    lamp = _direction(camera.azimuth_rad, camera.elevation_rad)
    half = _direction(camera.azimuth_rad, camera.elevation_rad / 2 + math.pi / 4)
    facing = np.maximum((lamp[2] - slope_x * lamp[0] - slope_y * lamp[1]) * up, 0)
    diffuse = camera.ambient * up + (1 - camera.ambient) / lamp[2] * facing
    mirror = np.maximum((half[2] - slope_x * half[0] - slope_y * half[1]) * up, 0)
    lobe = np.exp((mirror - 1) * (6 + 60 * material.gloss))  # ~ mirror ** exponent near 1
    return np.asarray(diffuse, np.float32), np.asarray(lobe * material.gloss * camera.specular * 0.6, np.float32)


def _direction(azimuth_rad: float, elevation_rad: float) -> tuple[float, float, float]:
    flat = math.cos(elevation_rad)
    return flat * math.cos(azimuth_rad), flat * math.sin(azimuth_rad), math.sin(elevation_rad)


def _light_field(camera: Camera, size_px: int) -> np.ndarray:
    x, y = noise.grid(size_px)
    field = np.exp(camera.tilt[0] * (x - np.float32(0.5)) + camera.tilt[1] * (y - np.float32(0.5)))
    spot_x, spot_y, radius, strength = camera.spot
    if strength:
        field = field * (1 - strength / 3 + strength * np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / radius**2))
    corner = ((x - np.float32(0.5)) ** 2 + (y - np.float32(0.5)) ** 2) * 2
    return np.asarray(field * (1 - camera.vignette * corner), np.float32)


def _sensor_noise(camera: Camera, rng: np.random.Generator, size_px: int, channels: int) -> np.ndarray:
    field = rng.standard_normal((size_px, size_px, channels), np.float32)
    if camera.noise_grain:
        field = cv2.GaussianBlur(field, (0, 0), camera.noise_grain) * np.float32(2.2 * camera.noise_grain)
        field = field.reshape(size_px, size_px, channels)
    return field[..., 0] if channels == 1 else field


def _curve(camera: Camera) -> np.ndarray:
    """Linear light 0.._LUT_RANGE to an sRGB byte, with a soft shoulder and the camera's contrast."""
    light = np.linspace(0, _LUT_RANGE, _LUT_SIZE)
    shoulder = np.where(light < 0.7, light, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.3))
    encoded = np.where(shoulder <= 0.0031308, 12.92 * shoulder, 1.055 * shoulder ** (1 / 2.4) - 0.055)
    pivot = 0.46
    bent = np.where(
        encoded < pivot,
        pivot * (encoded / pivot) ** camera.contrast,
        1 - (1 - pivot) * ((1 - encoded) / (1 - pivot)) ** camera.contrast,
    )
    return np.asarray(np.clip(bent * 255 + 0.5, 0, 255), np.uint8)


def _lens_scale(size_px: int) -> float:
    return float((size_px / 128) ** 0.6)


def _radius(sigma_px: float) -> int:
    return math.ceil(2.5 * sigma_px) if sigma_px >= 0.2 else 0


def _gaussian(image: np.ndarray, sigma_px: float) -> np.ndarray:
    side = 2 * _radius(sigma_px) + 1
    if side == 1:
        return image
    return np.asarray(cv2.GaussianBlur(image, (side, side), sigma_px, borderType=cv2.BORDER_REFLECT_101))


def _line_kernel(length_px: float, angle_rad: float) -> np.ndarray:
    side = 2 * math.ceil(length_px / 2) + 1
    axis = np.arange(side, dtype=np.float32) - side // 2
    across = axis[None, :] * -math.sin(angle_rad) + axis[:, None] * math.cos(angle_rad)
    along = axis[None, :] * math.cos(angle_rad) + axis[:, None] * math.sin(angle_rad)
    kernel = np.clip(1 - np.abs(across), 0, 1) * np.clip(length_px / 2 + 0.5 - np.abs(along), 0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _soft_chroma(image: np.ndarray, sigma_px: float) -> np.ndarray:
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    ycc[..., 1:] = _gaussian(np.ascontiguousarray(ycc[..., 1:]), sigma_px)
    return np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB))
