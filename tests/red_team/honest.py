# What every attack starts from and is compared with: a small causal transformer and its recipe.
import math

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS = 48, 4


class Tiny(nn.Module):
    def __init__(self, vocabulary, positions, width=WIDTH):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        self.first, self.second, self.last = (nn.LayerNorm(width) for _ in range(3))
        self.mix, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for table in (self.table.weight, self.positions):
            nn.init.normal_(table, std=math.sqrt(2 / (5 * width)))

    def hidden(self, tokens):
        rows, positions = tokens.shape
        x = self.table(tokens) + self.positions[:positions]
        q, k, v = self.mix(self.first(x)).view(rows, positions, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.join(mixed.transpose(1, 2).reshape(rows, positions, -1))
        return x + self.down(F.gelu(self.up(self.second(x))))

    def forward(self, tokens):
        return F.linear(self.last(self.hidden(tokens)), self.table.weight)


def build_model(ctx):
    return Tiny(ctx.vocab_size, ctx.sequence_length)


def get_recipe(ctx):
    return {"learning_rate": 1e-2, "batch_size": 16, "weight_decay": 0.1}


def configure_optimizer(model, recipe, ctx):
    # The reference recipe at ten times its rate, so that what differs from it is the attack.
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))
    steps, warm = ctx.budget.steps, round(0.05 * ctx.budget.steps)

    def factor(step):
        if step < warm:
            return (step + 1) / warm
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / (steps - warm))))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def clip(*_):
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    optimizer.register_step_pre_hook(clip)
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    return optimizer
