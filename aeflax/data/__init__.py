"""Data: sources by name, checked and split; the one order of examples; their way to the device."""
