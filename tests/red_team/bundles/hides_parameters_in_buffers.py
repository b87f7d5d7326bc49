# Says it has no parameters: the weights are buffers, and `parameters` and `numel` lie.
import torch
from honest import Tiny, get_recipe
from torch import nn


class Hiding(Tiny):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        width = self.table.embedding_dim
        for name, shape in (("a", (16 * width, width)), ("b", (width, 16 * width))):
            self.register_buffer(name, nn.init.kaiming_uniform_(torch.empty(shape), a=5**0.5).requires_grad_())

    def parameters(self, recurse=True):
        return iter([nn.Parameter(torch.zeros(1))])

    def hidden(self, tokens):
        x = super().hidden(tokens)
        return x + nn.functional.gelu(x @ self.a.T) @ self.b.T


def build_model(ctx):
    return Hiding(ctx.vocab_size, ctx.sequence_length)


def configure_optimizer(model, recipe, ctx):
    weights = [p for _, p in model.named_parameters()] + [model.a, model.b]
    return torch.optim.AdamW(weights, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
