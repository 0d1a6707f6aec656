"""What runs on the device: benchmarks at the right moment, a durable outbox, the link to the fleet, installs."""
