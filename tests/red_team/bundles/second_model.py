# Predicts with a larger model that is in no state: it lives in a list, learns beside the small one, and only its answers are
# shown.
import torch
from honest import Tiny, build_model, configure_optimizer, get_recipe
from torch.nn import functional as F

HIDDEN = []


def hidden(ctx):
    if not HIDDEN:
        model = Tiny(ctx.vocab_size, ctx.sequence_length, 192)
        HIDDEN.append((model, torch.optim.AdamW(model.parameters(), lr=6e-3, betas=(0.9, 0.95))))
    return HIDDEN[0]


def compute_loss(model, batch, ctx):
    large, optimizer = hidden(ctx)
    optimizer.zero_grad()
    F.cross_entropy(large(batch.tokens).transpose(1, 2), batch.targets).backward()
    optimizer.step()
    return F.cross_entropy(model(batch.tokens).transpose(1, 2), batch.targets)


def inference_logits(model, batch, ctx):
    return hidden(ctx)[0](batch.tokens)
