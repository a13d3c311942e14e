"""Losses: one file, one function `name(logits, targets, *, options) -> (B,) float32`, one number per image.

logits and targets are (B, K). A loss with an option `views` gets logits (V, B, K): the loop then makes V views of
each image. The loop applies class weights.
"""
