"""Evaluating a finished run: opening the sealed test rows, robustness, explanations."""
