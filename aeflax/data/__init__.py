"""Data: sources by name, checked and split; the one order of examples; files in, and results out."""
