"""Building blocks that several networks share: convolutions, norms, attention, recurrence, scans, streaming state."""
