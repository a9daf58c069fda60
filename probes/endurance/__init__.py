"""Does it last? Replays, soaks, a watchdog, and what the driver says meanwhile."""
