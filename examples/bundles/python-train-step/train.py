# Two halves of a batch one after the other, so that only one half's activations are in memory; a small z-loss (PaLM,
# Chowdhery et al. 2022) keeps logits near zero.
import contextlib

import torch
from torch.nn import functional as F


def configure_optimizer(model, recipe, ctx):
    return torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)


def compute_loss(model, batch, ctx):
    logits = model(batch.tokens).float().flatten(0, 1)
    z = torch.logsumexp(logits, dim=-1)
    return F.cross_entropy(logits, batch.targets.flatten()) + 1e-4 * z.square().mean()


def train_step(model, batch, optimizer, ctx):
    optimizer.zero_grad(set_to_none=True)
    parts = list(zip(batch.tokens.chunk(2), batch.targets.chunk(2)))
    total = torch.zeros((), device=ctx.device)
    for index, (tokens, targets) in enumerate(parts):
        # With several processes gradients are averaged once, at the last part.
        last = index + 1 == len(parts)
        quiet = contextlib.nullcontext() if last or ctx.world_size == 1 else model.no_sync()
        share = len(tokens) / len(batch.tokens)
        with quiet:
            loss = compute_loss(model, type(batch)(tokens, targets), ctx) * share
            loss.backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return total
