"""What a bundle may import of PRISM: the types that its hooks are given and may return."""

from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Budget:
    """What the evaluation may spend."""

    tokens: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class PrismContext:
    """`ctx`: the sizes that the host fixes, the ceilings it sets, and where this process stands."""

    vocab_size: int
    sequence_length: int
    max_layers: int
    max_parameters: int
    seed: int
    """Equal for all attempts of a run; no other random choice of the host follows from it."""
    budget: Budget
    batch_size: int
    """Rows per step, over all processes."""
    width_factor: int = 1
    """Asks for a model this many times as wide; 1 at the base size."""
    depth_factor: int = 1
    """Asks for a model this many times as deep; 1 at the base size."""
    checkpoint_dir: str | None = None
    resume_checkpoint_dir: str | None = None
    checkpoint_api_version: int = 1
    attempt: int = 1
    is_resume: bool = False
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    distributed_backend: str | None = None
    device: str = "cpu"
    checkpoint_metadata: object = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class TrainingRecipe:
    """What `get_recipe` returns; the defaults are the contract's. Batch and length of rows are the host's."""

    learning_rate: float = 3e-4
    batch_size: int = 4
    optimizer: str = "adamw"
    scheduler: str = "cosine"
    weight_decay: float = 0.01


@dataclass(frozen=True)
class PrismBatch:
    """Rows of tokens: `tokens[:, t]` is given where `targets[:, t]` is predicted. Both are `[rows, positions]`, int64."""

    tokens: object
    targets: object
    metadata: object = field(default_factory=lambda: MappingProxyType({}))

    def __getitem__(self, name):
        if name in ("tokens", "targets", "metadata"):
            return getattr(self, name)
        raise KeyError(name)
