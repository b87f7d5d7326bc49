# A small GPT; what a case changes of it is appended.
import torch
from torch import nn
from torch.nn import functional as F

from blocks import Block


class GPT(nn.Module):
    def __init__(self, ctx):
        super().__init__()
        width = 32
        self.tokens = nn.Embedding(ctx.vocab_size, width)
        self.positions = nn.Embedding(ctx.sequence_length, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, ctx.vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens):
        hidden = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


def build_model(ctx):
    return GPT(ctx)


def get_recipe(ctx):
    return {"learning_rate": 3e-3, "weight_decay": 0.0}
