"""Pictures in, faces out: who is seen when, and the mouth crops that a lip reader wants. Numpy arrays, no torch."""
