"""One module for each Kubernetes distribution; see :mod:`strongroom.model.distribution`."""
