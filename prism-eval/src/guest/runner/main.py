"""First program of a guest: `python -s -S -B main.py THREADS WORLD_SIZE SEARCH...`.

Moves the channel out of reach, fixes everything that could make two runs differ, imports PyTorch and then serves the
host. Nothing of a miner is read before the host sends it.

`-I` would be isolated too, but ignores PYTHONHASHSEED: the order of sets would differ between a player and its auditor.
The environment is the sandbox's alone, so there is nothing to ignore.
"""

import os
import sys


def private_channel():
    """Moves standard input and output to private descriptors: 0 becomes /dev/null and 1 becomes standard error, so
    that prints and stray reads of a miner's code don't touch the channel."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, sink


def torchrun(threads, world_size, search):
    """Becomes `torchrun`, whose processes inherit the channel; each runs this file again."""
    os.environ["PYTHONPATH"] = os.pathsep.join(search)
    python = [sys.executable, "-s", "-S", "-B", "-X", "utf8"]
    run = ["-m", "torch.distributed.run", "--standalone", "--nnodes=1", f"--nproc-per-node={world_size}", "--no-python"]
    os.execv(sys.executable, [*python, *run, *python, os.path.abspath(__file__), threads, world_size, *search])


def main():
    threads, world_size, *search = sys.argv[1:]
    if int(world_size) > 1 and "RANK" not in os.environ:
        torchrun(threads, world_size, search)
    source, sink = private_channel()
    here = os.path.dirname(os.path.abspath(__file__))
    standard = [path for path in sys.path if path not in (here, *search)]
    sys.path[:] = [here, *search, *standard]
    sys.argv[:] = [""]

    from prism_guest import deterministic

    deterministic.prepare(int(threads))

    from prism_guest import ranks, session

    group = ranks.join()
    session.serve(group.channel(source, sink), group)


if __name__ == "__main__":
    main()
