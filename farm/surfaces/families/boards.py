"""Printed circuit boards: in colour with mask, pads and print, and as a bilevel scan of the copper."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from farm.surfaces import noise
from farm.surfaces.colour import grey, mixed, tint
from farm.surfaces.families.build import material, pick
from farm.surfaces.material import Material

_SHIFT = 4  # fractional bits of cv2 coordinates
_OVER = 2  # the layout is drawn this many times larger, then averaged
_COMPASS = tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8))


@dataclass
class Layout:
    """Copper, bare pads and drilled holes of a board, drawn as coverage; lengths are image sides."""

    side_px: int
    copper: np.ndarray
    pads: np.ndarray
    holes: np.ndarray
    gap: float
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)  # x0, y0, x1, y1 of the lands

    @classmethod
    def empty(cls, size_px: int, gap: float) -> Layout:
        """A bare board with ``gap`` to be kept between nets."""
        side = size_px * _OVER
        copper, pads, holes = np.zeros((3, side, side), np.uint8)
        return cls(side, copper, pads, holes, gap)

    def _points(self, points: np.ndarray) -> np.ndarray:
        return np.round(points * self.side_px * 2**_SHIFT).astype(np.int32)

    def _thickness(self, width: float) -> int:
        return max(1, round(width * self.side_px))

    def _claim(self, x: float, y: float, half_x: float, half_y: float) -> bool:
        """Whether a land fits beside the others; if so its place is taken."""
        x0, y0, x1, y1 = x - half_x, y - half_y, x + half_x, y + half_y
        if any(
            x0 < b[2] + self.gap and b[0] < x1 + self.gap and y0 < b[3] + self.gap and b[1] < y1 + self.gap
            for b in self.taken
        ):
            return False
        self.taken.append((x0, y0, x1, y1))
        return True

    def trace(self, points: np.ndarray, width: float) -> None:
        """A track through the points (n, 2), cut free of what it crosses."""
        line = [self._points(points).reshape(-1, 1, 2)]
        cv2.polylines(self.copper, line, False, 0, self._thickness(width + 2 * self.gap), cv2.LINE_8, _SHIFT)
        cv2.polylines(self.copper, line, False, 255, self._thickness(width), cv2.LINE_8, _SHIFT)

    def disc(self, centre: tuple[float, float], radius: float, hole: float, bare: bool = True) -> None:
        """A round land with a drilled hole (``hole`` 0 = none), left out where another land is."""
        if not self._claim(*centre, radius, radius):
            return
        x, y = self._points(np.array(centre)).tolist()
        unit = self.side_px * 2**_SHIFT
        cv2.circle(self.copper, (x, y), round((radius + self.gap) * unit), 0, -1, cv2.LINE_8, _SHIFT)
        cv2.circle(self.copper, (x, y), round(radius * unit), 255, -1, cv2.LINE_8, _SHIFT)
        if bare:
            cv2.circle(self.pads, (x, y), round(radius * unit), 255, -1, cv2.LINE_8, _SHIFT)
        if hole:
            cv2.circle(self.holes, (x, y), round(hole * unit), 255, -1, cv2.LINE_8, _SHIFT)

    def box(self, centre: tuple[float, float], half: tuple[float, float], corner: float, bare: bool = True) -> None:
        """A rectangular land with rounded corners, left out where another land is; without ``bare`` a pour."""
        x, y = centre
        if bare and not self._claim(x, y, *half):
            return
        w, h = max(half[0] - corner, 1e-4), max(half[1] - corner, 1e-4)
        frame = self._points(np.array([[x - w, y - h], [x + w, y - h], [x + w, y + h], [x - w, y + h]]))
        for grow, level in ((self.gap, 0), (0.0, 255)):
            self._rounded(self.copper, frame, corner + grow, level)
        if bare:
            self._rounded(self.pads, frame, corner, 255)

    def _rounded(self, plane: np.ndarray, frame: np.ndarray, corner: float, level: int) -> None:
        cv2.fillPoly(plane, [frame.reshape(-1, 1, 2)], level, cv2.LINE_8, _SHIFT)
        if corner > 0.5 / self.side_px:
            line = [frame.reshape(-1, 1, 2)]
            cv2.polylines(plane, line, True, level, self._thickness(2 * corner), cv2.LINE_8, _SHIFT)

    def planes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copper, pads and holes at the image size, 0..1."""
        side = self.side_px // _OVER
        planes = (self.copper, self.pads, self.holes)
        copper, pads, holes = (
            cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255 for p in planes
        )
        return np.maximum(copper, pads), pads, holes


def route(rng: np.random.Generator, size_px: int, widest: float = 0.06, most: int = 8) -> Layout:
    """A random piece of board: at most ``most`` pours, buses that bend by 45 degrees, rows of pads, vias."""
    unit = math.exp(rng.uniform(math.log(0.016), math.log(widest)))
    layout = Layout.empty(size_px, gap=unit * rng.uniform(0.6, 1.4))
    if rng.random() < 0.35:
        layout.copper[:] = 255
    steps = [_pour, _bus, _bus, _bus, _bus, _pad_row, _vias, _connector]
    for index in np.sort(rng.integers(len(steps), size=int(rng.integers(2, most + 1)))).tolist():  # lands on top
        steps[index](rng, layout, unit)
    if layout.copper.min() == layout.copper.max():
        _bus(rng, layout, unit)
    return layout


def _pour(rng: np.random.Generator, layout: Layout, unit: float) -> None:
    centre = (rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 1.1))
    layout.box(centre, (rng.uniform(0.08, 0.5), rng.uniform(0.08, 0.5)), unit * rng.uniform(0, 1.5), bare=False)


def _bus(rng: np.random.Generator, layout: Layout, unit: float) -> None:
    """Parallel tracks: straight, then a 45 degree turn, then straight."""
    heading = int(rng.integers(4)) * 2 if rng.random() < 0.75 else int(rng.integers(8))
    width = unit * rng.uniform(0.7, 2.0)
    pitch = width + 2 * layout.gap * rng.uniform(0.7, 1.6)
    start = np.array([rng.uniform(0, 1), rng.uniform(0, 1)])
    turn = int(rng.choice([-1, 0, 1]))
    first, second = np.array(_COMPASS[heading]), np.array(_COMPASS[(heading + turn) % 8])
    bend, leg = rng.uniform(-0.3, 0.4), rng.uniform(0.1, 0.5)
    count = int(rng.integers(1, 7))
    dead_end = rng.random() < 0.3
    normal = np.array([-first[1], first[0]])
    for k in range(count):
        offset = (k - count / 2) * pitch
        shift = -turn * offset * math.tan(math.pi / 8)
        knee = start + normal * offset + first * (bend + shift)
        out = knee + second * (leg - 2 * shift)
        end = out + first * (0.0 if dead_end else 2.0)
        layout.trace(np.stack([knee - first * 2, knee, out, end]), width)
        if dead_end and rng.random() < 0.7:
            land = max(width, unit) * rng.uniform(0.9, 1.6)
            layout.disc((float(out[0]), float(out[1])), land, land * rng.choice([0.0, 0.45]))


def _pad_row(rng: np.random.Generator, layout: Layout, unit: float) -> None:
    """A row of rectangular lands (one side of a chip)."""
    upright = rng.random() < 0.5
    half = (unit * rng.uniform(0.8, 2), unit * rng.uniform(1.2, 5))
    pitch = 2 * half[0] + 2 * layout.gap * rng.uniform(0.8, 2)
    centre, corner = rng.uniform(0.1, 0.9, 2), min(half) * rng.uniform(0, 0.9)
    for k in range(int(rng.integers(2, 10))):
        x, y = centre + np.array([1.0, 0.0] if upright else [0.0, 1.0]) * (k - 3) * pitch
        layout.box((float(x), float(y)), half if upright else half[::-1], corner)


def _vias(rng: np.random.Generator, layout: Layout, unit: float) -> None:
    radius = min(unit * rng.uniform(1.0, 3.2), 0.12)
    hole = radius * rng.uniform(0.35, 0.6) if rng.random() < 0.8 else 0.0
    bare = rng.random() < 0.7
    for _ in range(int(rng.integers(1, 4))):
        layout.disc((rng.random(), rng.random()), radius, hole, bare)


def _connector(rng: np.random.Generator, layout: Layout, unit: float) -> None:
    """A grid of round lands, as for a connector or a ball grid array."""
    radius = unit * rng.uniform(0.8, 2)
    pitch = 2 * radius + 2 * layout.gap * rng.uniform(1, 2)
    origin = rng.uniform(0.05, 0.6, 2)
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(2, 6))
    hole = radius * float(rng.choice([0.0, 0.45]))
    for i in range(rows):
        for j in range(columns):
            layout.disc((float(origin[0]) + j * pitch, float(origin[1]) + i * pitch), radius, hole)


def pcb(rng: np.random.Generator, size_px: int) -> Material:
    """A board under solder mask: tracks shine through, pads are tinned or gilded, print lies on top."""
    layout = route(rng, size_px)
    copper, pads, holes = layout.planes()
    mask_colour = _mask_colour(rng)
    weave = noise.spectral(rng, size_px, 40, slope=1.2)
    cloud = noise.fractal(rng, size_px, 3, octaves=3)
    over_copper = np.clip(mask_colour * rng.uniform(1.3, 2.4) + np.float32(rng.uniform(0.0, 0.05)), 0, 0.95)
    albedo = mixed(mask_colour, over_copper, copper) * (1 + 0.03 * weave + 0.05 * cloud)[..., None]
    gold = rng.random() < 0.5
    finish = tint(rng, (0.1, 0.14), (0.3, 0.6), (0.7, 0.92)) if gold else grey(rng, (0.6, 0.85), 0.06)
    mottle = 1 + 0.08 * noise.fractal(rng, size_px, 18, octaves=2)
    albedo = mixed(albedo, finish * mottle[..., None], pads)
    ink = _silkscreen(rng, size_px) * (1 - np.maximum(pads, holes))
    albedo = mixed(albedo, grey(rng, (0.85, 0.97)), ink * rng.uniform(0.7, 1.0))
    albedo = mixed(albedo, np.full(3, 0.01, np.float32), holes)
    height = noise.blur(0.8 * copper, 0.004) + 0.4 * pads + 0.3 * ink - 3.0 * holes + 0.06 * weave
    gloss = mixed_gloss(0.35, pads, 0.6) * (1 - holes)
    phrase = pick(rng, "a circuit board", "a printed circuit board", "a PCB")
    return material(albedo, height, gloss, "pcb", phrase)


def mixed_gloss(base: float, share: np.ndarray, top: float) -> np.ndarray:
    """Gloss ``base`` where ``share`` is 0, ``top`` where it is 1."""
    return np.asarray(base + (top - base) * share, np.float32)


def _mask_colour(rng: np.random.Generator) -> np.ndarray:
    kind = pick(rng, "green", "green", "green", "blue", "red", "black", "white")
    if kind == "white":
        return grey(rng, (0.65, 0.8))
    hue = {"green": (0.33, 0.45), "blue": (0.57, 0.65), "red": (-0.02, 0.03), "black": (0.3, 0.6)}[kind]
    value = (0.08, 0.2) if kind == "black" else (0.25, 0.6)
    return tint(rng, hue, (0.5, 0.95), value)


def _silkscreen(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """0..1 coverage by component outlines and reference designators."""
    side = size_px * _OVER
    page = np.zeros((side, side), np.uint8)
    line = max(1, round(side * 0.01))
    for _ in range(int(rng.integers(0, 4))):
        x, y, w, h = (rng.uniform([0, 0, 0.1, 0.1], [0.8, 0.8, 0.4, 0.3]) * side).astype(int).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(page, (x, y), (x + w, y + h), 255, line)
        text = pick(rng, "R", "C", "U", "L", "D", "J", "Q") + str(int(rng.integers(1, 99)))
        cv2.putText(page, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, side / rng.uniform(260, 520), 255, line, cv2.LINE_AA)
    small = cv2.resize(page, (size_px, size_px), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.asarray(cv2.rotate(small, cv2.ROTATE_90_CLOCKWISE) if rng.random() < 0.3 else small)


def pcb_mono(rng: np.random.Generator, size_px: int) -> Material:
    """A bilevel scan of bare copper: black tracks on white or the reverse, with slightly ragged edges."""
    layout = route(rng, size_px, widest=0.11, most=5)
    copper, _, holes = layout.planes()
    shape = np.clip(copper - holes, 0, 1)
    if rng.random() < 0.3:
        shape = 1 - shape
    ragged = rng.uniform(0.0, 0.0035) * float(rng.random() < 0.7)
    shape = noise.warp(shape, ragged * noise.value(rng, size_px, 48), ragged * noise.value(rng, size_px, 48))
    albedo = np.repeat((0.9 - 0.88 * shape)[..., None], 3, axis=2)
    phrase = pick(rng, "a black and white circuit board", "a scanned circuit board", "a binary circuit board scan")
    return material(albedo, np.zeros_like(shape), 0.0, "pcb_mono", phrase)
