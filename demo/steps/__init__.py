"""The journey's steps, in the order they are told."""
