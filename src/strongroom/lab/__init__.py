"""Real Linux hosts on one machine, so that every phase runs and is tested without TEE hardware."""
