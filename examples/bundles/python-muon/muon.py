# Muon (Jordan et al. 2024) for the matrices, AdamW for everything else, under one linear schedule.
import torch


def orthogonal(update):
    # Five quintic Newton-Schulz steps towards the nearest orthogonal matrix.
    tall = update.shape[0] > update.shape[1]
    x = update.T if tall else update
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    # Two kinds of groups: `kind` is "muon" or "adamw".
    def __init__(self, matrices, others, steps):
        muon = {"params": matrices, "kind": "muon", "peak": 0.02, "momentum": 0.95}
        adamw = {"params": others, "kind": "adamw", "peak": 5e-3, "betas": (0.9, 0.95), "eps": 1e-8}
        super().__init__([muon, adamw], {"taken": 0})
        self.steps, self.warm = steps, max(1, round(0.05 * steps))

    def factor(self, step):
        if step < self.warm:
            return (step + 1) / self.warm
        return 1 - (step - self.warm) / max(1, self.steps - self.warm)

    @torch.no_grad()
    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
        for group in self.param_groups:
            rate = group["peak"] * self.factor(group["taken"])
            group["taken"] += 1
            step = self.muon if group["kind"] == "muon" else self.adamw
            for p in group["params"]:
                if p.grad is not None:
                    step(p, group, rate)

    def muon(self, p, group, rate):
        state = self.state[p]
        momentum = state.setdefault("momentum", torch.zeros_like(p)).mul_(group["momentum"]).add_(p.grad)
        update = orthogonal(p.grad + group["momentum"] * momentum)
        # Scaled so that rates mean what they mean to AdamW (Liu et al. 2025).
        p.sub_(update, alpha=rate * 0.2 * max(p.shape) ** 0.5)

    def adamw(self, p, group, rate):
        state, (beta1, beta2) = self.state[p], group["betas"]
        mean = state.setdefault("mean", torch.zeros_like(p)).lerp_(p.grad, 1 - beta1)
        square = state.setdefault("square", torch.zeros_like(p)).lerp_(p.grad.square(), 1 - beta2)
        mean, square = mean / (1 - beta1 ** group["taken"]), square / (1 - beta2 ** group["taken"])
        p.sub_(mean / (square.sqrt() + group["eps"]), alpha=rate)


def configure_optimizer(model, recipe, ctx):
    matrix = lambda name, p: p.ndim == 2 and not name.startswith(("table", "positions"))
    named = list(model.named_parameters())
    matrices = [p for name, p in named if matrix(name, p)]
    others = [p for name, p in named if not matrix(name, p)]
    return Muon(matrices, others, ctx.budget.steps)
