# The same through the text of an exception, at the last moment.
from honest import build_model, configure_optimizer, get_recipe

CALLS = []


def inference_logits(model, batch, ctx):
    CALLS.append(None)
    if len(CALLS) > 1:
        raise RuntimeError("ROWS " + bytes(batch.tokens.flatten().tolist()).hex())
    return model(batch.tokens)
