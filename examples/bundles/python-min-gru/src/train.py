# AdamW with a decay on matrices alone, a short warm-up and half a cosine.
import math

import torch


def configure_optimizer(model, recipe, ctx):
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))

    steps, warm = ctx.budget.steps, max(1, ctx.budget.steps // 20)

    def factor(step):
        done = min(1.0, max(0.0, (step - warm) / max(1, steps - warm)))
        return min((step + 1) / warm, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    return optimizer
