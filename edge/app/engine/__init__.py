"""The engine of the bedside app: a process of its own, the messages to it, and the state that a screen shows."""
