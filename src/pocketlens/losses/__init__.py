"""Losses: one file, one function `name(logits, targets, *, options) -> (B,) float32`, one number per image."""
