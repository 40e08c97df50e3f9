"""Measurements: how large the error is, how long it takes, how both grow, which order to choose."""
