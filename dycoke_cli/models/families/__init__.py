"""Model families: preprocessing, vision encoding and prompts of each, one module per family."""
