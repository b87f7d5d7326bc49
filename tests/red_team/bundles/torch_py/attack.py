# Everything honest, but for the `torch` that stands beside it.
from honest import build_model, configure_optimizer, get_recipe
