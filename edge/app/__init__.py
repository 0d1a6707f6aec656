"""The bedside app: presenters without Kivy, screens with it, an encrypted vault, and the engine in another process."""
