"""Populations: many models trained as one compiled program, each the very run that it would be alone."""
