# The honest recipe with more optimizer steps on each batch: what a baseline gains by working more.
from honest import build_model, configure_optimizer, get_recipe
from torch.nn import functional as F

STEPS = 2


def train_step(model, batch, optimizer, ctx):
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch.tokens).transpose(1, 2), batch.targets)
        loss.backward()
        optimizer.step()
    return loss.detach()
