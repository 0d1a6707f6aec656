"""Measurements against other engines; never imported by edge/."""
