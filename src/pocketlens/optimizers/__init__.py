"""Optimizers, and modifiers of their steps: one file, one function; joined as in `sgd | sam(rho=0.05) | ema`.

An optimizer is `name(groups, lr, *, options) -> torch.optim.Optimizer`. `groups` are torch's parameter groups with the
keys params, weight_decay and lr_scale. Each group of the result holds its peak rate as `initial_lr`; the loop
multiplies it by the schedule's factor.

A modifier is `name(classifier, *, options) -> Modifier` (see `_modifier.py`) and follows an optimizer in the pipe.
"""
