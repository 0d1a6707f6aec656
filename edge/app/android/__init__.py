"""The bedside app on Android: a window, a service that holds the engine, a service that proves a bundle.

Only `platform.py` knows Java; everything else runs, and is tested, on any Linux.
"""
