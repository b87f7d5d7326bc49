# The last weights are noisy and their average predicts better. Both are in one file, so that training can go on from it.
import os

import torch


def configure_optimizer(model, recipe, ctx):
    live = model.live.parameters()
    optimizer = torch.optim.AdamW(live, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
    optimizer.register_step_post_hook(lambda *_: model.follow())
    return optimizer


def inference_logits(model, batch, ctx):
    return model.average(batch.tokens)


def save_checkpoint(model, checkpoint_dir, ctx):
    torch.save(model.state_dict(), os.path.join(checkpoint_dir, "model.pt"))
    return {"path": "model.pt", "metadata": {"format": 1}}


def load_checkpoint(model, checkpoint_dir, ctx):
    if ctx.checkpoint_metadata.get("format") != 1:
        raise ValueError("checkpoint of another format")
    state = torch.load(os.path.join(checkpoint_dir, "model.pt"), weights_only=True)
    model.load_state_dict(state)
