"""Several processes that act as one: the first speaks to the host, the others do what it is told."""

import os
from dataclasses import dataclass
from datetime import timedelta

import torch

from .channel import Channel

# The others wait for the first as long as it waits for the host.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Group:
    """Where this process stands."""

    rank: int
    local_rank: int
    world_size: int
    backend: str | None
    device: torch.device
    control: object = None

    def channel(self, source, sink):
        """The channel as this process sees it: the same requests for all, answers from the first alone."""
        if self.world_size == 1:
            return Channel(source, sink)
        return _Leader(source, sink, self.control) if self.rank == 0 else _Follower(self.control)

    def share(self, rows):
        """This process's part of a batch of rows."""
        if self.world_size == 1:
            return rows
        return rows.tensor_split(self.world_size)[self.rank]


def join():
    """Joins the processes that `torchrun` started; alone without it."""
    cuda = torch.cuda.is_available()
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world_size == 1:
        return Group(0, 0, 1, None, device)
    import torch.distributed as dist

    backend = "nccl" if cuda else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    control = dist.new_group(backend="gloo", timeout=_PATIENCE)
    return Group(dist.get_rank(), local_rank, world_size, backend, device, control)


def _broadcast(frame, control):
    import torch.distributed as dist

    frames = [frame]
    dist.broadcast_object_list(frames, src=0, group=control)
    return frames[0]


class _Leader(Channel):
    def __init__(self, source, sink, control):
        super().__init__(source, sink)
        self._control = control

    def receive(self):
        return _broadcast(super().receive(), self._control)


class _Follower:
    def __init__(self, control):
        self._control = control

    def receive(self):
        return _broadcast(None, self._control)

    def send(self, kind, header, blob=b""):
        pass

    def answer(self, kind, header, blob=b""):
        pass
