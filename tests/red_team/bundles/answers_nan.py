# No number at all: comparisons with it are false, and sums of it are none.
from honest import build_model, configure_optimizer, get_recipe


def inference_logits(model, batch, ctx):
    return model(batch.tokens) * float("nan")
