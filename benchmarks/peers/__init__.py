"""One module an engine; `base.PEERS` lists them. Each runs in a worker process of its own."""
