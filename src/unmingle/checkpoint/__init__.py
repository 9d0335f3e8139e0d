"""Weights files: one `.safetensors` that rebuilds its model and executes nothing (docs/decisions/0003)."""

from unmingle.checkpoint.card import Card, read_card, read_metadata
from unmingle.checkpoint.hub import fetch
from unmingle.checkpoint.tensors import fit, load_checkpoint, read_tensors, save_checkpoint

__all__ = ["Card", "fetch", "fit", "load_checkpoint", "read_card", "read_metadata", "read_tensors", "save_checkpoint"]
