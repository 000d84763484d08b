"""What exists at training time only: cycles without labels, contrast between views, contextual prompts and noise."""
