"""Cameras, depth and motion of the camera: what knows nothing about objects."""
