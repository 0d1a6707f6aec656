"""edge: put a fine-tuned clinical language model on a device and prove that it works there."""

__version__ = "0.1.0"
