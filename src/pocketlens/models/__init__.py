"""Models: one file, one function `name(shape, n_classes, *, options) -> nn.Module`.

`shape` is (height, width, channels) of the prepared images. The module maps normalised float32 images (B, C, H, W) to
logits (B, n_classes). Parameters whose names start with `head.` are its head. A module with a method
`init_from_data(images)` has it called once, before training, with normalised training images, (N, C, H, W) float32.
"""
