"""Recordings of any length, and live sound, through a network: tracks out."""
