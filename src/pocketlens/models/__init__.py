"""Models: one file, one function `name(shape, n_classes, *, options) -> nn.Module`.

`shape` is (height, width, channels) of the prepared image. The module takes normalised float32 (B, C, H, W) and gives
logits (B, n_classes). Parameters whose names begin with `head.` are the head. A method `init_from_data(images)` is
called once before training, with normalised training images, (N, C, H, W) float32.
"""
