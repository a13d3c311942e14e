"""Image operations: one file, one function `name(images, *, options) -> images`; float32 (B, C, H, W) in 0..1.

They have no randomness. `prepare` applies them to every part alike: training, validation, test, predict, export.
"""
