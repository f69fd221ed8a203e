"""Which whole files a resource writes, for those who want to read them before any host does."""

from __future__ import annotations

from strongroom.plan.devices import DeviceRights, LockedMemory
from strongroom.plan.files import File
from strongroom.plan.handlers import Handlers
from strongroom.plan.resource import Resource


def files(resource: Resource) -> list[File]:
    """The whole files that a resource writes."""
    if isinstance(resource, File):
        return [resource]
    if isinstance(resource, DeviceRights):
        return [resource.rules]
    if isinstance(resource, Handlers):
        return resource.preview()
    return [resource.drop_in] if isinstance(resource, LockedMemory) else []
