"""Which object a sentence means: text and vision advance together, stage by stage (SATracker-style)."""
