"""Codes as bytes: quantised, entropy-coded, in a container that tells whether it is what was written."""
