"""Times of what has a target. They are printed, never asserted."""
