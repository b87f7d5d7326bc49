"""Recipes at work: a declared one as `native/optimizer.rs` carries it out, and the contract's fallback."""

import math
import os

import torch
from torch.nn.functional import cross_entropy

from . import Fault
from .hooks import batch_of, scalar

RATE_CAP = 3e-4
"""The fallback optimizer's ceiling; `configure_optimizer` lifts it."""


class Declared:
    """A canonical native recipe: groups by role, one clip over all, one schedule, additions to the loss.

    Only `build_model` and the forward pass of the bundle are called.
    """

    def __init__(self, recipe, model, hooks, ctx, parallel):
        self._hooks, self._ctx, self._parallel = hooks, ctx, parallel
        self._clip = recipe["clip"]
        self._loss = recipe["loss"]
        self._schedule = recipe["schedule"]
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        roles = _roles(model)
        self._optimizers = []
        for group in recipe["groups"]:
            parameters = [p for p in self._parameters if roles[p] in group["roles"]]
            [(kind, numbers)] = group["optimizer"].items()
            self._optimizers.append((_OPTIMIZERS[kind](parameters, numbers), numbers["learning_rate"]))

    def step(self, step, model, rows):
        """One step on this process's rows; what it says about itself."""
        batch = batch_of(rows)
        model.train()
        model.zero_grad(set_to_none=True)
        logits = self._hooks.logits(self._parallel or model, batch, self._ctx).float().flatten(0, 1)
        targets = batch.targets.flatten()
        plain = cross_entropy(logits, targets)
        loss, smoothing, z_loss = plain, self._loss["label_smoothing"], self._loss["z_loss"]
        if smoothing:
            loss = cross_entropy(logits, targets, label_smoothing=smoothing)
        if z_loss:
            loss = loss + z_loss * logits.logsumexp(1).square().mean()
        report = {"loss": scalar(plain, f"loss at step {step}") / math.log(2)}
        loss.backward()
        norm = report["gradient_norm"] = gradient_norm(self._parameters)
        if not math.isfinite(norm):
            raise Fault(f"gradients are not finite at step {step}")
        if self._clip is not None and norm > self._clip:
            scale_gradients(self._parameters, self._clip / norm)
        factor = schedule_factor(self._schedule, step, self._ctx.budget.steps)
        for optimizer, peak in self._optimizers:
            optimizer.step(peak * factor)
        report["learning_rate"] = self._optimizers[0][1] * factor if self._optimizers else 0.0
        return report

    def save_checkpoint(self, model, checkpoint_dir, ctx):
        """All that training goes on from: as a hook of the contract."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        state = {
            "model": model.state_dict(),
            "optimizers": [optimizer.state for optimizer, _ in self._optimizers],
            "generators": [torch.get_rng_state(), *cuda],
        }
        torch.save(state, os.path.join(checkpoint_dir, "run.pt"))
        return "run.pt"

    def load_checkpoint(self, model, checkpoint_dir, ctx):
        """Takes up what `save_checkpoint` left."""
        path = os.path.join(checkpoint_dir, "run.pt")
        state = torch.load(path, map_location=ctx.device, weights_only=True)
        model.load_state_dict(state["model"], strict=True)
        for (optimizer, _), saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.state = saved
        cpu, *cuda = (generator.cpu() for generator in state["generators"])
        torch.set_rng_state(cpu)
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(cuda)


class Own:
    """The miner's own recipe: its hooks, and the contract's fallbacks where it has none."""

    def __init__(self, model, hooks, ctx, parallel):
        self._hooks, self._ctx, self._parallel = hooks, ctx, parallel
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        recipe = hooks.recipe(ctx)
        self._scheduler, self._fallback = None, None
        if hooks.configure_optimizer is not None:
            configured = hooks.configure_optimizer(model, recipe, ctx)
            if isinstance(configured, tuple) and len(configured) == 2:
                configured, self._scheduler = configured
            if not callable(getattr(configured, "step", None)):
                raise Fault(f"configure_optimizer returned a value of type {type(configured).__name__}, no optimizer")
            self.optimizer = configured
        else:
            self.optimizer = self._fall_back(recipe)

    def _fall_back(self, recipe):
        if str(recipe.optimizer).lower() != "adamw":
            raise Fault(f"get_recipe: optimizer {recipe.optimizer!r} needs configure_optimizer; without it there is adamw")
        schedules = {"cosine": "cosine", "linear": "linear", "constant": "constant", "none": "constant"}
        kind = schedules.get(str(recipe.scheduler).lower())
        if kind is None:
            raise Fault(f"get_recipe: scheduler {recipe.scheduler!r} is not one of {', '.join(schedules)}")
        rate = min(recipe.learning_rate, RATE_CAP)
        self._fallback = rate, {kind: {"warmup": 0.0, "floor": 0.0}}
        return torch.optim.AdamW(self._parameters, lr=rate, weight_decay=recipe.weight_decay)

    def step(self, step, model, rows):
        """One step on this process's rows: `train_step`, or the default loop."""
        batch = batch_of(rows)
        model.train()
        trained = self._parallel or model
        if self._fallback is not None:
            rate, schedule = self._fallback
            for group in self.optimizer.param_groups:
                group["lr"] = rate * schedule_factor(schedule, step, self._ctx.budget.steps)
        report = {}
        if self._hooks.train_step is not None:
            loss = self._hooks.train_step(trained, batch, self.optimizer, self._ctx)
            report["loss"] = scalar(loss, f"train_step at step {step}") / math.log(2)
        else:
            self.optimizer.zero_grad()
            loss = self._hooks.loss(trained, batch, self._ctx)
            report["loss"] = scalar(loss, f"loss at step {step}") / math.log(2)
            loss.backward()
            norm = report["gradient_norm"] = gradient_norm(self._parameters)
            if not math.isfinite(norm):
                raise Fault(f"gradients are not finite at step {step}")
            if self._fallback is not None and norm > 1.0:
                scale_gradients(self._parameters, 1.0 / norm)
            self.optimizer.step()
        if self._scheduler is not None:
            self._scheduler.step()
        return report


def schedule_factor(schedule, step, steps):
    """The factor on the peak rate, as `Schedule::factor` of `native/schedule.rs` has it."""
    [(kind, numbers)] = schedule.items()
    floor = 1.0 if kind == "constant" else numbers["floor"]
    warm = min(max(math.floor(numbers["warmup"] * steps + 0.5), 0), steps)
    if step < warm:
        return (step + 1) / warm
    if step >= steps:
        return floor
    done = (step - warm) / (steps - warm)
    if kind == "constant":
        return 1.0
    if kind == "cosine":
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * done))
    return 1.0 - (1.0 - floor) * done


def gradient_norm(parameters):
    """Euclidean norm of all gradients together, summed in double precision in the order of the parameters."""
    squares = [p.grad.double().square().sum() for p in parameters if p.grad is not None]
    return math.sqrt(float(torch.stack(squares).sum())) if squares else 0.0


def scale_gradients(parameters, factor):
    """Multiplies all gradients."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def _roles(model):
    """The role of each parameter: tables of embeddings (also where a tied output uses them), other values of two or more
    dimensions as matrices, vectors as biases where that is their name and as gains else."""
    tables = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    embeddings = {module.weight for module in model.modules() if isinstance(module, tables)}
    roles = {}
    for name, parameter in model.named_parameters():
        if parameter in embeddings:
            roles[parameter] = "embedding"
        elif parameter.ndim >= 2:
            roles[parameter] = "matrix"
        else:
            roles[parameter] = "bias" if "bias" in name.rpartition(".")[2] else "gain"
    return roles


class _AdamW:
    """Loshchilov, Hutter 2019."""

    def __init__(self, parameters, numbers):
        self._parameters, self._numbers = parameters, numbers
        self.state = [None] * len(parameters)

    @torch.no_grad()
    def step(self, rate):
        beta1, beta2, epsilon = self._numbers["beta1"], self._numbers["beta2"], self._numbers["epsilon"]
        for index, parameter in enumerate(self._parameters):
            gradient = parameter.grad
            if gradient is None:
                continue
            if self.state[index] is None:
                self.state[index] = [torch.zeros_like(parameter), torch.zeros_like(parameter), 0]
            moments = self.state[index]
            moments[2] += 1
            first, second, taken = moments
            first.lerp_(gradient, 1.0 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
            root = (second / (1.0 - beta2**taken)).sqrt_().add_(epsilon)
            parameter.mul_(1.0 - rate * self._numbers["weight_decay"])
            parameter.addcdiv_(first, root, value=-rate / (1.0 - beta1**taken))


class _Lion:
    """Chen et al. 2023."""

    def __init__(self, parameters, numbers):
        self._parameters, self._numbers = parameters, numbers
        self.state = [None] * len(parameters)

    @torch.no_grad()
    def step(self, rate):
        beta1, beta2 = self._numbers["beta1"], self._numbers["beta2"]
        for index, parameter in enumerate(self._parameters):
            gradient = parameter.grad
            if gradient is None:
                continue
            momentum = self.state[index]
            if momentum is None:
                momentum = self.state[index] = torch.zeros_like(gradient)
            update = (momentum * beta1 + gradient * (1.0 - beta1)).sign_()
            momentum.mul_(beta2).add_(gradient, alpha=1.0 - beta2)
            parameter.mul_(1.0 - rate * self._numbers["weight_decay"]).sub_(update, alpha=rate)


class _Muon:
    """Jordan et al. 2024, scaled by 0.2 sqrt(max(rows, columns)) (Liu et al. 2025). Values of more than two dimensions are
    taken as matrices of their first dimension and all others."""

    def __init__(self, parameters, numbers):
        self._parameters, self._numbers = parameters, numbers
        self.state = [None] * len(parameters)

    @torch.no_grad()
    def step(self, rate):
        momentum = self._numbers["momentum"]
        for index, parameter in enumerate(self._parameters):
            gradient = parameter.grad
            if gradient is None:
                continue
            velocity = self.state[index]
            velocity = gradient.clone() if velocity is None else gradient + momentum * velocity
            self.state[index] = velocity
            update = _orthogonal((gradient + momentum * velocity).flatten(1))
            scale = rate * 0.2 * math.sqrt(max(update.shape))
            parameter.mul_(1.0 - rate * self._numbers["weight_decay"])
            parameter.sub_(update.view_as(parameter), alpha=scale)


def _orthogonal(matrix):
    """The nearest orthogonal matrix, about: five Newton-Schulz steps with Jordan's coefficients."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.square().sum().sqrt().clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T.contiguous() if tall else x


_OPTIMIZERS = {"adamw": _AdamW, "lion": _Lion, "muon": _Muon}
