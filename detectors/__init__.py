"""Backbones, slot attention and proposals: what finds objects in one frame."""
