# GPT-2 (Radford et al. 2019): learned positions, layer norm before each branch, GELU, biases, tied output.
import math

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x):
        rows, positions, width = x.shape
        split = (rows, positions, self.heads, width // self.heads)
        q, k, v = (of(x).view(split).transpose(1, 2) for of in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(rows, positions, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocabulary, positions, width, depth, heads):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.reset()

    def reset(self):
        # Small init (Nguyen, Salazar 2019); what feeds the residual sum starts smaller by the number of branches.
        tables = [self.table.weight, self.positions.weight]
        branches = [layer for block in self.blocks for layer in (block.attention.output, block.down)]
        for table in tables:
            nn.init.normal_(table, std=math.sqrt(2 / (5 * table.shape[1])))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (5 * layer.in_features)))
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            for layer in branches:
                layer.weight /= len(branches)

    def forward(self, tokens):
        x = self.table(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.table.weight)


def build_model(ctx):
    width, depth = 64 * ctx.width_factor, 2 * ctx.depth_factor
    return GPT(ctx.vocab_size, ctx.sequence_length, width, depth, heads=4)


def get_recipe(ctx):
    return {"learning_rate": 3e-3, "batch_size": 16, "weight_decay": 0.1}
