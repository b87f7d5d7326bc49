# Two copies of a GPT: one learns, the other follows as its moving average.
import copy

import torch
from gpt import GPT
from torch import nn

DECAY = 0.95


class Averaged(nn.Module):
    def __init__(self, live):
        super().__init__()
        self.live = live
        self.average = copy.deepcopy(live).requires_grad_(False)

    def forward(self, tokens):
        return self.live(tokens)

    @torch.no_grad()
    def follow(self):
        for average, live in zip(self.average.parameters(), self.live.parameters()):
            average.lerp_(live, 1 - DECAY)


def build_model(ctx):
    width, depth = 64 * ctx.width_factor, 2 * ctx.depth_factor
    return Averaged(GPT(ctx.vocab_size, ctx.sequence_length, width, depth, heads=4))


def get_recipe(ctx):
    return {"learning_rate": 5e-3, "batch_size": 16, "weight_decay": 0.1}
