"""Evaluation of a finished run: the one door to the sealed test rows, robustness, explanations."""
