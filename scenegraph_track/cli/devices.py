"""Where networks can compute on this machine."""

from __future__ import annotations

from scenegraph_track.errors import UserError


def devices() -> dict[str, str]:
    """The devices of this machine by torch's name, with what they are."""
    import platform

    import torch

    found = {"cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"}
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        found[f"cuda:{i}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def choose_device(name: str) -> str:
    """The device of a name: itself, or for ``auto`` the first GPU, else the CPU.

    Raises:
        UserError: This machine has no such device.
    """
    found = devices()
    if name == "auto":
        return next((device for device in found if device != "cpu"), "cpu")
    device = "cuda:0" if name == "cuda" else name
    if device not in found:
        raise UserError(f"--device {name}: expected auto or one of {', '.join(found)}, the devices of this machine")
    return device
