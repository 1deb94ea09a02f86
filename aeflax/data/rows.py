"""Examples that may be larger than memory."""

from aeflax.engine.feed import Rows
