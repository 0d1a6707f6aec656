"""Rollouts: a new build moves out ring by ring, and a ring opens only on evidence from the devices before it."""
