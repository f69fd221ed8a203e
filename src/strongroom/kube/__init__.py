"""The Kubernetes API: server-side apply, waits, readiness. Uses the official client."""
