"""Reach a device: run a program there, copy files to it and back."""
