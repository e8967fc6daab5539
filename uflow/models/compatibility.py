"""Which choices cannot work together, although each is valid by itself; needs no MindSpore."""

from __future__ import annotations

from uflow import registry
from uflow.components import Components
from uflow.interfaces import Network


def next_multiple(size: int, unit: int) -> int:
    """The smallest multiple of `unit` that is not less than `size`."""
    return -(-size // unit) * unit


def working_size_problem(network: Network, height: int, width: int) -> str:
    """Why images cannot be resized to a size to find their flow, which is rounded up to fit; '' if they can."""
    if height < 1 or width < 1:
        return "sizes are at least 1 px"
    return "; ".join(network.size_problems(*(next_multiple(size, network.multiple) for size in (height, width))))


def problems(network: Network, components: Components, height: int, width: int) -> list[str]:
    """Why images of a size cannot be trained on with these choices; empty if they can.

    Each line begins with the option that is in the way, `data.` for the size of the images, and names the limit.

    Args:
        network: what estimates the flow.
        components: one per axis.
        height: rows of the training images.
        width: columns of the training images.
    """
    found = [f"data.{p}" for p in network.size_problems(height, width)]
    if "teacher" in registry.entry_of(components.selfsup).needs:
        found += _view_problems(network, components.selfsup, {"height": height, "width": width})
        if components.selfsup.mask == "advection":
            found += _advection_problems(components, {"height": height, "width": width})
    patch = getattr(components.photometric, "patch", 1)
    found += [
        f"photometric.patch={patch} is too large for data.{name}={size}: no pixel has a whole patch around it"
        for name, size in (("height", height), ("width", width))
        if size < patch
    ]
    smooth = components.smoothness
    reach = getattr(smooth, "radius", 0)
    found += [
        f"smoothness.radius={reach} is too large for data.{name}={size}: at pyramid level {smooth.level} there are"
        f" {size // 2**smooth.level} px"
        for name, size in (("height", height), ("width", width))
        if size // 2**smooth.level <= reach
    ]
    parts = getattr(components.normalization, "channel_groups", 1)
    return found + [
        f"normalization.channel_groups={parts} does not divide the {channels} channels of {where}"
        for where, channels in getattr(network, "normalized", {}).items()
        if channels % parts
    ]


def _view_problems(network: Network, selfsup: object, sizes: dict[str, int]) -> list[str]:
    found = []
    for name, size in sizes.items():
        cut = getattr(selfsup, f"crop_{name}", 0)
        if 2 * cut >= size:
            found.append(
                f"selfsup.crop_{name}={cut} cuts away all of data.{name}={size}: it must be less than {size // 2}"
            )
        elif cut and not selfsup.resize:
            view = sizes | {name: size - 2 * cut}
            found += [
                f"selfsup.crop_{name}={cut}: the student's {p} (without selfsup.resize)"
                for p in network.size_problems(view["height"], view["width"])
                if p.startswith(name)
            ]
    return found


def _advection_problems(components: Components, sizes: dict[str, int]) -> list[str]:
    """The mask `advection` is made of what the occlusion component says of the flows of teacher and student."""
    entry = registry.entry_of(components.occlusion)
    if entry.name == "none" or "true_occlusion" in entry.needs:
        able = [name for name in registry.names("occlusion") if name not in ("none", "ground_truth")]
        return [
            f"selfsup.mask=advection needs masks of estimated flows, which occlusion.name={entry.name} does not give;"
            f" possible: {', '.join(able)}"
        ]
    if components.occlusion.start > components.selfsup.start:
        return [
            f"selfsup.mask=advection needs masks from selfsup.start={components.selfsup.start:g} on, but"
            f" occlusion.start={components.occlusion.start:g} is later"
        ]
    least, selfsup = 4 * components.occlusion.least_size, components.selfsup
    cropped = not getattr(selfsup, "resize", True)
    views = {n: size - 2 * getattr(selfsup, f"crop_{n}") if cropped else size for n, size in sizes.items()}
    return [
        f"selfsup.crop_{name}: the student's {name} {size} is too small for selfsup.mask=advection, which asks"
        f" occlusion.name={entry.name} at a quarter of the size: at least {least} px are needed"
        for name, size in views.items()
        if 0 < size < least
    ]
