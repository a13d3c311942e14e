"""Augmentations: one file, one function `name(images, targets, draws, *, options) -> images, targets`.

images are float32 (B, C, H, W) in 0..1 on any device, targets float32 (B, K) with rows that sum to 1. Every image has
its own draw, which depends on its row number, the epoch and the seed alone.
"""
