"""The collector: takes what devices send, judges it, commits it, and only then acknowledges it."""
