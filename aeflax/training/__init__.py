"""The host loop of training, what it tells of itself, and when it stops."""
