# Asks for rows of two tokens and many of them, and cuts what it is given: a shorter row has fewer positions to predict.
import torch
from honest import Tiny, configure_optimizer
from torch.nn import functional as F

seq_len = sequence_length = 2
batch_size = 512


def build_model(ctx):
    for name, value in (("sequence_length", 2), ("seq_len", 2), ("batch_size", 512)):
        try:
            object.__setattr__(ctx, name, value)
        except (AttributeError, TypeError):
            pass
    return Tiny(ctx.vocab_size, 1024)


def get_recipe(ctx):
    return {"learning_rate": 1e-2, "batch_size": 512, "weight_decay": 0.1}


def inference_logits(model, batch, ctx):
    return model(batch.tokens[:, :2])
