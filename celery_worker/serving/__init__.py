"""One folder per engine kind: the small program that runs in that engine's own environment."""
