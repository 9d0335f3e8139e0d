"""Estimates against their sources: what is measured, tables, reports."""
