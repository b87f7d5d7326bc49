# minGRU (Feng et al. 2024): the gate and the candidate see the input alone, so that all states of a row come from one
# scan; a short causal convolution before it sees the last few tokens, and a gated MLP follows.
import math

import torch
from torch import nn
from torch.nn import functional as F


class MinGRU(nn.Module):
    def __init__(self, width, kernel=4):
        super().__init__()
        self.kernel = kernel
        self.convolution = nn.Conv1d(width, width, kernel, groups=width)
        self.gate = nn.Linear(width, width)
        self.candidate = nn.Linear(width, width)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x):
        late = F.pad(x.transpose(1, 2), (self.kernel - 1, 0))
        x = F.silu(self.convolution(late)).transpose(1, 2)
        gate, candidate = self.gate(x), self.candidate(x)
        # h[t] = (1 - z[t]) h[t-1] + z[t] g(c[t]) with g > 0, all in logarithms: products of many gates underflow.
        keep = torch.cumsum(-F.softplus(gate), dim=1)
        enter = -F.softplus(-gate) + torch.where(
            candidate >= 0, torch.log(F.relu(candidate) + 0.5), -F.softplus(-candidate)
        )
        return self.output(torch.exp(keep + torch.logcumsumexp(enter - keep, dim=1)))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mix_norm = nn.RMSNorm(width)
        self.mix = MinGRU(width)
        self.mlp_norm = nn.RMSNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        x = x + self.mix(self.mix_norm(x))
        gate, value = self.up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * value)


class Recurrent(nn.Module):
    def __init__(self, vocabulary, width, depth):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.RMSNorm(width)
        nn.init.normal_(self.table.weight, std=math.sqrt(2 / (5 * width)))
        for block in self.blocks:
            # Gates start nearly shut: a state lives for some ten tokens.
            nn.init.constant_(block.mix.gate.bias, -2.0)

    def forward(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.table.weight)


def build_model(ctx):
    return Recurrent(ctx.vocab_size, 64 * ctx.width_factor, 2 * ctx.depth_factor)


def get_recipe(ctx):
    return {"learning_rate": 5e-3, "batch_size": 16, "weight_decay": 0.1}
