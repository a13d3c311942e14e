"""Image operations: one file, one function `name(images, *, options) -> images`; float32 (B, C, H, W) in 0..1.

They are not random. `prepare` applies them to all images alike: training, validation, test, predict, export.
"""
