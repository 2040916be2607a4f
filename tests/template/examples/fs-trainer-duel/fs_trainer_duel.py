"""A trainer whose network draws faces and whose critic tells them from real ones."""

import torch
from fs_kernel import hookimpl
from fs_kernel.types import BatchLoss, LossPart, StepResult
from fs_nn.optimizers import ManagedOptimizer
from fs_nn.sampling import UniformSampler
from fs_nn.schedule import WarmUp
from torch.nn.functional import softplus


class DuelTrainer:
    """Absolute difference, and a little of what the critic finds wrong."""

    @hookimpl
    def get_sampler(self, sizes, batch_size, seed):
        return UniformSampler(sizes, batch_size, seed)

    @hookimpl
    def build_networks(self, network):
        import keras
        from keras import layers

        face = x = keras.Input((None, None, 3))
        for width in (16, 32):
            x = layers.LeakyReLU(0.2)(layers.Conv2D(width, 4, 2, "same")(x))
        return {
            "critic": keras.Model(face, layers.Conv2D(1, 3, padding="same", dtype="float32")(x))
        }

    @hookimpl
    def create_trainer(self, run):
        return Duel(run)


class Duel:
    """The steps of a session, with an optimizer for each of the two."""

    def __init__(self, run):
        self.run, self.critic = run, run.network.owned["critic"]
        owned = {"generator": run.parameters(), "critic": run.parameters(of="critic")}
        self.players = {
            player: ManagedOptimizer(
                torch.optim.Adam(weights.values(), betas=(0.5, 0.99)), weights, WarmUp(1e-3, 0)
            )
            for player, weights in owned.items()
        }

    def train_step(self, batch):
        run, drawing, judging, losses = self.run, [], [], []
        drawn = run.forward(batch.inputs, training=True)
        for side in run.network.sides:
            pairs = zip(run.network.outputs_of(side), batch.targets[side], strict=True)
            parts = []
            for (i, output), real in ((o, t) for o, t in pairs if t is not None):
                values = {"mae": (drawn[i] - real).abs().mean()}
                if output.kind == "face":
                    values["critic"] = 0.02 * softplus(-self.critic(drawn[i])).mean()
                    fake = softplus(self.critic(drawn[i].detach())).mean()
                    judging.append(fake + softplus(-self.critic(real)).mean())
                drawing += values.values()
                where = f"{output.kind}_{output.size}"
                parts += [LossPart(n, where, v.detach(), v.detach()) for n, v in values.items()]
            losses.append(BatchLoss(side, sum(part.weighted for part in parts), tuple(parts)))
        self.players["generator"].backward(sum(drawing))
        self.players["generator"].step()
        self.critic.zero_grad()  # of what the generator's loss left behind
        self.players["critic"].backward(sum(judging))
        self.players["critic"].step()
        return StepResult(losses)

    def state_dict(self):
        return {player: optimizer.state_dict() for player, optimizer in self.players.items()}

    def load_state_dict(self, state):
        for player, optimizer in self.players.items():
            optimizer.load_state_dict(state[player])
