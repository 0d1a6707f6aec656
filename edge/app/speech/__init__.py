"""Speech into text on the device: a recogniser in a child process, a microphone or a WAV file, and the visit's text.

Audio lives in memory only and is never written anywhere.
"""
