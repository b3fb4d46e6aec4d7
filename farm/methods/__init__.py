"""The ways to make a defect. Adding one: a file here, a config model in ``farm.config``, a line in ``METHODS``."""

from importlib import import_module

from farm.config import MethodConfig, Run
from farm.methods.base import Made, Method, Request

__all__ = ["METHODS", "Made", "Method", "Request", "build_method"]

METHODS: dict[str, str] = {
    "rules": "farm.methods.rules:Rules",
    "background_aware": "farm.methods.background_aware:BackgroundAware",
    "adabldm": "farm.methods.adabldm:AdaBldm",
    "translate": "farm.methods.translate:Translate",
    "dual": "farm.methods.dual:Dual",
    "variational": "farm.methods.variational:Variational",
    "null": "farm.methods.null:Null",
}


def build_method(config: MethodConfig, run: Run) -> Method:
    """Load what ``config`` names and build it for ``run`` (weights load here); its class takes ``(config, run)``."""
    module, _, name = METHODS[config.kind].partition(":")
    method: Method = getattr(import_module(module), name)(config, run)
    return method
