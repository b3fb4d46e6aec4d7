"""A detector as ONNX or TorchScript, for whoever inspects without this farm: uint8 photographs in, maps and scores out.

The graph holds all but the decoding and resizing of files: scaling of pixels, network, maps and score. Its card says
the rest. An export is run at two batch sizes and held against the torch detector before it is written.
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch

from farm.detector.checkpoint import CARD
from farm.detector.outputs import SCORE_WINDOW
from farm.detector.predict import Detect, Detector, Floats, Graph, Pixels
from farm.errors import ConfigError, WeightsError
from farm.ids import generator
from farm.store import Store, json_bytes

Format = Literal["onnx", "torchscript"]
FILES: dict[Format, str] = {"onnx": "model.onnx", "torchscript": "model.pt"}
BATCHES = (1, 3)
TOLERANCE = 1e-4  # of a map's and a score's value
INPUT, OUTPUTS = "images", ("map", "score")


def export_detector(detector: Detector, card: dict[str, Any], to: Format, out: str) -> dict[str, Any]:
    """Write ``detector``, trained with ``card``, as ``to`` into ``out`` (path or URL); gives the export's card.

    Raises ``RuntimeError`` where the export's maps or scores are not the detector's.
    """
    size = int(card["size_px"])
    data = EXPORTS[to](Graph(detector.model), torch.from_numpy(_images(2, size)))
    found = load_export(data, to, out)
    off = max(_difference(found, detector, _images(count, size)) for count in BATCHES)
    if not off <= TOLERANCE:
        raise RuntimeError(f"{to}: differs from the torch detector by {off:.2g}; at most {TOLERANCE:g} is rounding")
    told = {**_card(card, to, size), "sha256": hashlib.sha256(data).hexdigest(), "largest_difference": off}
    store = Store(out)
    store.write(FILES[to], data)
    store.write(CARD, json_bytes(told))
    return told


def load_export(data: bytes, to: Format, where: str, device: str = "cpu") -> Detect:
    """The exported detector in ``data``, which came from ``where``: uint8 (B, S, S, 3) → maps and scores.

    Raises ``WeightsError`` for other bytes, ``ConfigError`` where a package is missing.
    """
    return LOADS[to](data, where, device)


def _card(card: dict[str, Any], to: Format, size: int) -> dict[str, Any]:
    head = "; the mean of this and of the image head's probability" if card["detector"]["kind"] == "fpn" else ""
    return {
        "format": to,
        "file": FILES[to],
        "size_px": size,
        "threshold": card.get("threshold"),
        "input": {
            "name": INPUT,
            "shape": ["batch", size, size, 3],
            "dtype": "uint8",
            "is": "sRGB, squashed to a square: mean of the area where it shrinks, bilinear where it grows; not scaled",
        },
        "outputs": {
            OUTPUTS[0]: {"shape": ["batch", size, size], "dtype": "float32", "is": "probability of a defect"},
            OUTPUTS[1]: {
                "shape": ["batch"],
                "dtype": "float32",
                "is": f"max of the map's {SCORE_WINDOW} x {SCORE_WINDOW} zero-padded moving mean{head}",
            },
        },
        "verdict": "defective where score >= threshold",
        **{name: card.get(name) for name in ("detector", "stage", "fingerprint")},
        "weights": card.get("sha256"),
    }


def _to_onnx(graph: Graph, images: torch.Tensor) -> bytes:
    _needed("onnxscript")
    batch = {INPUT + "_BHW3": {0: torch.export.Dim("batch")}}
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph, (images,), input_names=[INPUT], output_names=list(OUTPUTS), dynamic_shapes=batch, verbose=False
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def _to_torchscript(graph: Graph, images: torch.Tensor) -> bytes:
    file = io.BytesIO()
    with torch.no_grad(), _quiet():
        torch.jit.save(torch.jit.trace(graph, (images,), check_trace=False), file)
    return file.getvalue()


def _from_onnx(data: bytes, where: str, device: str) -> Detect:
    runtime = _needed("onnxruntime")
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    if not set(wanted) <= set(runtime.get_available_providers()):
        raise ConfigError("this onnxruntime has no CUDA; use --device cpu, or install onnxruntime-gpu")
    try:
        session = runtime.InferenceSession(data, providers=[*wanted, "CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base but Exception
        raise WeightsError(f"{where}: is not an ONNX model that can be run ({error}); export it again") from error

    def detect(images: Pixels) -> tuple[Floats, Floats]:
        maps, scores = session.run(list(OUTPUTS), {INPUT: images})
        return maps, scores

    return detect


def _from_torchscript(data: bytes, where: str, device: str) -> Detect:
    try:
        with _quiet():
            module = torch.jit.load(io.BytesIO(data), map_location=device)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{where}: is not a TorchScript module ({reason}); export it again") from error

    @torch.inference_mode()
    def detect(images: Pixels) -> tuple[Floats, Floats]:
        maps, scores = module(torch.tensor(images, device=device))
        return maps.cpu().numpy(), scores.cpu().numpy()

    return detect


EXPORTS: dict[Format, Callable[[Graph, torch.Tensor], bytes]] = {"onnx": _to_onnx, "torchscript": _to_torchscript}
LOADS: dict[Format, Callable[[bytes, str, str], Detect]] = {"onnx": _from_onnx, "torchscript": _from_torchscript}


def _images(count: int, size: int) -> Pixels:
    return generator(count, "export").integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _difference(found: Detect, wanted: Detect, images: Pixels) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(found(images), wanted(images), strict=True))


def _needed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(f"ONNX needs the package {package}; pip install 'defectfarm[export]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Both exporters warn of what holds here: the size of a photograph is fixed, and TorchScript is an old format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
