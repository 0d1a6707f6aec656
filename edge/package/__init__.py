"""Packages for devices: a .deb for boards with Linux, a project for Android."""
