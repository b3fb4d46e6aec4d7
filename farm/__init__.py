"""Defect Farm: make, filter and learn from synthetic industrial defects."""

__version__ = "0.1.0"
