"""How good predictions are: metrics with intervals, calibration, significance, the ledger. No torch."""
