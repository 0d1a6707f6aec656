"""What each screen shows and does, without Kivy: snapshots out, calls in."""
