"""What stands around the screens: patient bar, rail, status bar, lock."""
