"""One phase a file; a mode is a literal list of phases (``phases.modes``)."""
