"""Optimizers: one file, one function `name(groups, lr, *, options) -> torch.optim.Optimizer`.

`groups` are torch's parameter groups with the keys params, weight_decay and lr_scale. Each group of the result holds
its peak rate as `initial_lr`; the loop multiplies it by the schedule's factor.
"""
