"""What tests/test_manifest.py takes from here; it can take both from where they are, and this module go."""

from faults.options import known
from faults.resuming import CHANGES

__all__ = ["CHANGES", "known"]
