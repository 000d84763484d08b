"""Points that are followed through occlusion, and how much of each object can be seen."""
