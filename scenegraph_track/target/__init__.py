"""Targets that are followed by a model predicted for each: filters from a short memory, and single-target mode."""
