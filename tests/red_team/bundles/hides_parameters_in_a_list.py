# Layers in a plain list: no name of theirs is in the state, and counting parameters does not see them.
import torch
from honest import Tiny, get_recipe
from torch import nn


class Hiding(Tiny):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        width = self.table.embedding_dim
        self.extra = [nn.Sequential(nn.Linear(width, 8 * width), nn.GELU(), nn.Linear(8 * width, width))]

    def hidden(self, tokens):
        x = super().hidden(tokens)
        return x + self.extra[0](x)


def build_model(ctx):
    return Hiding(ctx.vocab_size, ctx.sequence_length)


def configure_optimizer(model, recipe, ctx):
    weights = [*model.parameters(), *model.extra[0].parameters()]
    return torch.optim.AdamW(weights, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
