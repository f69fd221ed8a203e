"""Evidence to a verdict: pure functions of evidence, collateral, appraisal policy and time; nothing here reads or writes.

A kind of evidence is one module, found by :mod:`strongroom.attest.registry`. The only ways out of a verifier are
:class:`~strongroom.attest.base.Authentic`, :class:`~strongroom.attest.base.Verified` and the exception
:class:`~strongroom.attest.base.Refused`.
"""
