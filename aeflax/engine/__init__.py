"""The training engine: pure functions in, one compiled loop out. It knows no model and no configuration."""
