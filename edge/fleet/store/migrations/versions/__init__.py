"""The steps, found by their `revision` and `down_revision`."""
