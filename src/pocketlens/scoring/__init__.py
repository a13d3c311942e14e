"""What a classifier's predictions are worth: metrics with intervals, calibration, significance, the ledger. No torch."""
