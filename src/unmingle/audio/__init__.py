"""Signals in, signals out: numpy arrays of float32, (channels, time). No torch, no networks."""
