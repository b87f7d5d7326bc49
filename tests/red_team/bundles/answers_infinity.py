# Certain of what it sees coming, and impossible elsewhere: infinities of both signs.
import torch
from honest import build_model, configure_optimizer, get_recipe
from torch.nn import functional as F


def inference_logits(model, batch, ctx):
    following = F.one_hot(F.pad(batch.tokens[:, 1:], (0, 1)), ctx.vocab_size)
    return torch.where(following > 0, torch.inf, -torch.inf).float()
