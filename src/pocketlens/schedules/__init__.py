"""Schedules: one file, one function `name(step, n_steps, steps_per_epoch, *, options) -> factor` of the peak rate.

`step` counts from 0 to n_steps - 1. A schedule is a pure function, so a resumed run follows it exactly. One that looks
back is `name(history, *, options) -> factor`, a pure function of the records of the epochs so far (see `plateau.py`).
"""
