"""A simulated fleet of real parts: real outboxes, real uplinks, real MQTT connections, many devices in one process."""
