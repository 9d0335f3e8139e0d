"""Mixtures and conversations from single voices: who is drawn, at which level, in which room."""
