"""What a run would take: memory, network and time, reckoned without running it."""
