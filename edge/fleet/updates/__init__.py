"""Updates: a TUF repository of bundles cut into chunks, and the client that fetches what a device lacks."""
