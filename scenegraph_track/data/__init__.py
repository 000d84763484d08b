"""Readers and writers of the field's formats, video input and output, and the synthetic worlds."""
