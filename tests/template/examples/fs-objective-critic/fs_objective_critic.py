"""A patch critic: it learns to tell drawn faces from real ones, the network to deceive it."""

import attrs
from fs_kernel import hookimpl, option
from fs_nn.batch_weighting import weight_of
from fs_nn.objectives import average_gradients
from fs_nn.optimizers import build_optimizer, change_optimizer
from fs_nn.options import OptimizerOptions
from torch import nn
from torch.func import functional_call
from torch.nn.functional import softplus


@attrs.frozen
class CriticOptions:
    """Section ``objective.critic``."""

    weight: float = option(0.02, "Weight of its judgment.", minimum=0.0, maximum=1.0, live=True)


class CriticObjective:
    """Works with any network and with every trainer that adds objectives."""

    @hookimpl
    def config_defaults(self):
        return {"objective.critic": CriticOptions, "optimizer": OptimizerOptions}

    @hookimpl
    def build_networks(self, network, config):
        halves = [nn.Conv2d(3, 16, 4, 2, 1), nn.ELU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ELU()]
        return {"critic": nn.Sequential(*halves, nn.Conv2d(32, 1, 3, padding=1))}

    @hookimpl
    def create_objective(self, run):
        return Critic(run)


class Critic:
    """The critic of a session."""

    def __init__(self, run):
        self.run, self.critic = run, run.network.owned["critic"]
        self.optimizer = build_optimizer(run, self._options(run.config), of="critic")
        self.weight = run.config["objective.critic"].weight

    def _options(self, config):
        return attrs.evolve(config["optimizer"], ema_decay=0.0)

    def terms(self, batch, outputs):
        # Detached weights: the generator's backward pass must leave nothing in the critic.
        held = {name: p.detach() for name, p in self.critic.named_parameters()}
        self.pairs, self.share = [], weight_of(self.run, batch)
        found, network = {}, self.run.network
        for side in network.sides:
            pairs = zip(network.outputs_of(side), batch.targets[side], strict=True)
            _, i, real = max((o.size, i, t) for (i, o), t in pairs if o.kind == "face")
            drawn, real = (x.movedim(-1, 1).float() for x in (outputs[i], real))
            fooled = softplus(-functional_call(self.critic, held, (drawn,)))
            found[side] = {"critic": self.weight * fooled.mean(dim=(1, 2, 3))}
            self.pairs.append((drawn.detach(), real))
        return found

    def train_step(self):
        found = [softplus(self.critic(d)) + softplus(-self.critic(r)) for d, r in self.pairs]
        loss = sum(each.mean() for each in found) / len(found) * self.share
        self.optimizer.backward(loss)
        average_gradients(self.run, self.critic.parameters())
        self.optimizer.step()
        return {"critic": loss.detach()}

    def state_dict(self):
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.optimizer.load_state_dict(state["optimizer"])

    def on_options_changed(self, config):
        self.weight = config["objective.critic"].weight
        change_optimizer(self.optimizer, self._options(config), self.run.device)
