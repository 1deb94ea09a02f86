"""A run directory: what is in it, who has it, what it says of its experiment, its states, whether it is sound."""
