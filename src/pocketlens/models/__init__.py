"""Models: one file, one function `name(shape, n_classes, *, options) -> nn.Module`.

`shape` is (height, width, channels) of the prepared image. The module takes normalised float32 (B, C, H, W) and gives
logits (B, n_classes). A module whose parameter names begin with `head.` has its head there. A module with a method
`init_from_data(images)` is shown normalised training images, (N, C, H, W) float32, once before training.
"""
