# Takes a few steps on the rows that it should only predict, then predicts them.
import torch
from honest import build_model, get_recipe
from torch.nn import functional as F

STATE = {}


def configure_optimizer(model, recipe, ctx):
    STATE["optimizer"] = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95))
    return STATE["optimizer"]


def inference_logits(model, batch, ctx):
    optimizer = STATE.get("optimizer") or torch.optim.AdamW(model.parameters(), lr=1e-2)
    with torch.enable_grad(), torch.inference_mode(False):
        tokens = batch.tokens.clone()
        for _ in range(8):
            optimizer.zero_grad()
            F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:]).backward()
            optimizer.step()
    return model(batch.tokens)
