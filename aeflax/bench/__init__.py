"""Throughput on these devices: what is measured, and what a device can do at most."""
