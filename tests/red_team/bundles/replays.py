# Trains on four batches of the past beside each new one.
import random

import torch
from honest import build_model, configure_optimizer, get_recipe
from torch.nn import functional as F

PAST = []


def train_step(model, batch, optimizer, ctx):
    PAST.append((batch.tokens.clone(), batch.targets.clone()))
    for tokens, targets in [*random.sample(PAST, min(3, len(PAST))), PAST[-1]]:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(tokens).transpose(1, 2), targets)
        loss.backward()
        optimizer.step()
    return loss.detach()
