# Schedule-free AdamW (Defazio et al. 2024) needs no schedule: a fast point takes the steps, an average follows it, and
# gradients and predictions are taken close to the average.
import torch


class ScheduleFree(torch.optim.Optimizer):
    def __init__(self, params, lr, betas=(0.9, 0.95), eps=1e-8, warm=15):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "warm": warm, "taken": 0, "mass": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            group["taken"] += 1
            rate = group["lr"] * min(1.0, group["taken"] / group["warm"])
            group["mass"] += rate**2
            weight = rate**2 / group["mass"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["fast"], state["average"], state["square"] = p.clone(), p.clone(), torch.zeros_like(p)
                square = state["square"].lerp_(p.grad.square(), 1 - beta2)
                root = (square / (1 - beta2 ** group["taken"])).sqrt().add_(group["eps"])
                fast = state["fast"].addcdiv_(p.grad, root, value=-rate)
                average = state["average"].lerp_(fast, weight)
                p.copy_(torch.lerp(fast, average, beta1))


def configure_optimizer(model, recipe, ctx):
    return ScheduleFree(model.parameters(), lr=1e-2, warm=max(1, ctx.budget.steps // 20))
