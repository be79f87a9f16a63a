"""Whether a site grants what a run asks for, said before anything is queued."""

from __future__ import annotations

from collections.abc import Iterable

from slurm.site import Site, seconds


def check_request(site: Site) -> None:
    """Raises ValueError naming the limits when a run asks for more than the site's profile allows."""
    limits = site.limits
    problems = []
    if limits.gpus_per_node and site.gpus_per_node > limits.gpus_per_node:
        problems.append(f"gpus_per_node = {site.gpus_per_node}, but a node has {limits.gpus_per_node} GPUs")
    if limits.nodes and site.nodes > limits.nodes:
        problems.append(f"nodes = {site.nodes}, but a job may have {limits.nodes}")
    if (
        limits.time_limit
        and site.time_limit
        and seconds(site.time_limit) > seconds(limits.time_limit, "limits.time_limit")
    ):
        problems.append(f"time_limit = {site.time_limit}, but a job may last {limits.time_limit}")
    if problems:
        raise ValueError(
            f"site {site.name!r} does not grant {'; '.join(problems)} "
            f"(its limits: {describe_limits(site)}); ask for less, or correct [limits] in the profile"
        )


def check_requests(site: Site, arms: Iterable[str]) -> None:
    """As :func:`check_request`, for every arm."""
    for arm in dict.fromkeys(arms):
        check_request(site.for_arm(arm))


def describe_limits(site: Site) -> str:
    """The known limits in words."""
    limits = site.limits
    known = {
        "GPUs per node": limits.gpus_per_node,
        "nodes": limits.nodes,
        "time limit": limits.time_limit,
    }
    return (
        ", ".join(
            f"{value} {what}" if isinstance(value, int) else f"{what} {value}"
            for what, value in known.items()
            if value
        )
        or "none known"
    )
