"""What must be fixed before a miner's code runs, so that a player and its auditor compute the same bits."""

import contextlib
import os
import random


def prepare(threads):
    """Imports PyTorch with every switch set that makes it repeat itself. An operator without a deterministic kernel
    warns instead of failing: the audit corrects what it changes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def prepare_optimizers():
    """Takes one step with an optimizer of PyTorch's own: the first one there is imports its compiler, which takes longer
    than importing PyTorch."""
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()


def seed(number):
    """Seeds every generator there is."""
    import torch

    random.seed(number)
    torch.manual_seed(number)
    numpy = _numpy()
    if numpy is not None:
        numpy.random.seed(number % 2**32)


@contextlib.contextmanager
def seeded(number):
    """Seeds every generator for a block, and leaves them as they were."""
    import torch

    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    numpy = _numpy()
    kept = random.getstate(), torch.get_rng_state(), numpy and numpy.random.get_state()
    try:
        seed(number)
        yield
    finally:
        random.setstate(kept[0])
        torch.set_rng_state(kept[1])
        if numpy is not None:
            numpy.random.set_state(kept[2])
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


def _numpy():
    """numpy, where PyTorch found it."""
    import sys

    return sys.modules.get("numpy")
