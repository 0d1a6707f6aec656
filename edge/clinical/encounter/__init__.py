"""One patient at one bedside: what was found, said, drafted and decided, without a screen and without storage."""
