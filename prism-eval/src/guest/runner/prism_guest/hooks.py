"""What a bundle offers, and how it is called."""

import math
from dataclasses import fields

import torch

from prism import PrismBatch, TrainingRecipe

from . import Fault
from .modules import Modules, Part

OPTIONAL = (
    "configure_optimizer",
    "inference_logits",
    "infer",
    "compute_loss",
    "train_step",
    "save_checkpoint",
    "load_checkpoint",
)


class Hooks:
    """The hooks of a bundle. Where only the architecture is asked for, the training part is not even imported."""

    def __init__(self, bundle, architecture_only):
        architecture = Part("architecture", bundle["architecture"])
        training = None
        if bundle["training"] is not None and not architecture_only:
            training = Part("training", bundle["training"])
        modules = Modules([part for part in (architecture, training) if part])
        modules.install()
        model = modules.entry(architecture)
        recipe = modules.entry(training) if training else model
        self.build_model = _function(model, "build_model")
        if self.build_model is None:
            raise Fault(f"{architecture.entrypoint}: build_model is missing")
        self.get_recipe = None
        for name in OPTIONAL:
            setattr(self, name, None)
        if not architecture_only:
            self.get_recipe = _function(recipe, "get_recipe") or _function(model, "get_recipe")
            for name in OPTIONAL:
                setattr(self, name, _function(recipe, name))

    def model(self, ctx):
        """`build_model`, on the device of this process."""
        model = self.build_model(ctx)
        if not isinstance(model, torch.nn.Module):
            raise Fault(f"build_model returned {_what(model)}, expected a torch.nn.Module")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if parameters > ctx.max_parameters:
            raise Fault(f"build_model returned {parameters} parameters, at most {ctx.max_parameters} are allowed")
        return model.to(ctx.device), parameters

    def recipe(self, ctx):
        """`get_recipe`, checked."""
        if self.get_recipe is None:
            raise Fault("get_recipe is missing")
        recipe = self.get_recipe(ctx)
        names = [field.name for field in fields(TrainingRecipe)]
        if isinstance(recipe, dict):
            stray = sorted(set(map(str, recipe)) - set(names))
            if stray:
                raise Fault(f"get_recipe returned a dict with {stray[0]!r}, expected only {', '.join(names)}")
            recipe = TrainingRecipe(**recipe)
        elif not isinstance(recipe, TrainingRecipe):
            raise Fault(f"get_recipe returned {_what(recipe)}, expected a TrainingRecipe or a dict")
        for name, least in (("learning_rate", 0.0), ("weight_decay", 0.0)):
            number = getattr(recipe, name)
            if not isinstance(number, (int, float)) or not math.isfinite(number) or number < least:
                raise Fault(f"get_recipe: {name} is {number!r}, expected a finite number of at least 0")
        return recipe

    def logits(self, model, batch, ctx):
        """Logits of a batch, exactly `[rows, positions, vocab_size]`: `inference_logits`, or `infer`, or the model."""
        hook = self.inference_logits or self.infer
        if hook is not None:
            source, logits = hook.__name__, hook(model, batch, ctx)
        else:
            source, logits = "model", model(batch.tokens)
        if not isinstance(logits, torch.Tensor):
            if isinstance(logits, (tuple, list)) and logits:
                logits = logits[0]
            else:
                logits = getattr(logits, "logits", logits)
        expected = (*batch.tokens.shape, ctx.vocab_size)
        if not isinstance(logits, torch.Tensor):
            raise Fault(f"{source} returned {_what(logits)}, expected logits of shape {list(expected)}")
        if tuple(logits.shape) != expected:
            raise Fault(f"{source} returned logits of shape {list(logits.shape)}, expected {list(expected)}")
        if not logits.is_floating_point():
            raise Fault(f"{source} returned logits of {logits.dtype}, expected floating point")
        return logits

    def loss(self, model, batch, ctx):
        """What the default loop minimises: `compute_loss`, or the mean cross-entropy in nats."""
        if self.compute_loss is not None:
            return self.compute_loss(model, batch, ctx)
        logits = self.logits(model, batch, ctx).float()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())


def batch_of(rows, targets=True):
    """Inputs and targets of rows `[rows, columns]`, each in memory of its own: no view reads past its end."""
    return PrismBatch(tokens=rows[:, :-1].clone(), targets=rows[:, 1:].clone() if targets else None)


def scalar(loss, source):
    """A loss as a finite number."""
    if isinstance(loss, torch.Tensor):
        if loss.numel() != 1:
            raise Fault(f"{source} returned a tensor of shape {list(loss.shape)}, expected one number")
        loss = loss.detach().item()
    if not isinstance(loss, (int, float)):
        raise Fault(f"{source} returned {_what(loss)}, expected one number")
    if not math.isfinite(loss):
        raise Fault(f"{source} is not finite")
    return float(loss)


def _function(module, name):
    function = getattr(module, name, None)
    if function is not None and not callable(function):
        raise Fault(f"{name} is {_what(function)}, expected a function")
    return function


def _what(value):
    return f"a value of type {type(value).__name__}"
