"""The loop itself: motion, association, the life of a track, and what is reported of it."""
