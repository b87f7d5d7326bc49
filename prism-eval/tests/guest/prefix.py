"""A model that sees all of what it is given, in both directions: it has an answer for what comes next and for nothing else."""

import torch
import torch.nn.functional as F
from prism import TrainingRecipe
from torch import nn


class PrefixLM(nn.Module):
    def __init__(self, vocabulary, length, width=48):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.distance = nn.Embedding(length, width)
        self.attend = nn.Linear(width, 3 * width)
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        count = tokens.shape[1]
        # Counted from the end: the end is where the answer is wanted.
        x = self.token(tokens) + self.distance(torch.arange(count - 1, -1, -1))
        query, key, value = self.attend(x).chunk(3, dim=2)
        x = x + F.scaled_dot_product_attention(query, key, value)
        return self.head(self.norm(x + self.mix(x)))


def build_model(ctx):
    return PrefixLM(ctx.vocab_size, ctx.sequence_length)


def get_recipe(ctx):
    return TrainingRecipe(learning_rate=4e-3)


def configure_optimizer(model, recipe, ctx):
    return torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)


def compute_loss(model, batch, ctx):
    losses = []
    for cut in (1, 2, 3, 5, 8, 12, 16, 20, 24, 28, 32):
        logits = model(batch.tokens[:, :cut])[:, -1]
        losses.append(F.cross_entropy(logits, batch.targets[:, cut - 1]))
    return torch.stack(losses).mean()
