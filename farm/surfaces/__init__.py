"""Procedural photographs of industrial surfaces."""
