"""The guest's side of PRISM: serves the host over one channel and calls a miner's hooks.

Nothing here is trusted, for a miner's code runs in the same process: whatever it answers, the host takes as a claim.

- `deterministic`: flags and seeds, before anything else.
- `channel`: frames of the protocol.
- `ranks`: several processes that act as one.
- `modules`: a miner's files as importable modules.
- `hooks`: what a bundle offers, and how it is called.
- `recipe`: a declared recipe at work.
- `state`: the state that prediction needs, as bytes.
- `checkpoint`: what the miner's own hook saves.
- `session`: one handler per message.
"""


class Fault(Exception):
    """Something that the miner's code did or left undone: told to the host, and the end of this guest."""
