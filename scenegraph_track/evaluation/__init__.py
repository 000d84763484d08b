"""Figures of tracking: what the field's benchmarks count, as tables and files."""
