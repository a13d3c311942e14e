"""Training: the loop (fit), its state, the run folder and its checkpoints, warm starts, time budgets."""
