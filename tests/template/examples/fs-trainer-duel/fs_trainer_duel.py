"""A generator that draws faces and a critic that tells them from real ones, an optimiser each."""

import torch
from fs_kernel import Network, hookimpl
from fs_kernel.testing import TinyModel
from fs_kernel.types import BatchLoss, LossPart, StepResult
from fs_nn.optimizers import NamedOptimizer
from fs_nn.sampling import UniformSampler
from fs_nn.schedule import WarmUp
from torch.nn.functional import softplus


class DuelNet(TinyModel):
    """A tiny network with a critic, which is trained and saved but is no part of a swap."""

    name = "duel_net"

    @hookimpl
    def build_model(self, inputs, config):
        import keras
        from keras import layers

        tiny = super().build_model(inputs, config)
        face = x = keras.Input((16, 16, 3))
        for width in (16, 32):
            x = layers.LeakyReLU(0.2)(layers.Conv2D(width, 4, 2, "same")(x))
        critic = keras.Model(face, layers.Conv2D(1, 4, dtype="float32")(x))
        return Network(tiny.model, tiny.outputs, extra={"critic": critic})


class DuelTrainer:
    """Absolute difference, and a little of what the critic finds wrong."""

    @hookimpl
    def get_sampler(self, sizes, batch_size, seed):
        return UniformSampler(sizes, batch_size, seed)

    @hookimpl
    def start_trainer(self, run):
        owned = {"generator": {}, "critic": {}}
        for name, weight in run.parameters().items():
            owned["critic" if name.startswith("extra:critic/") else "generator"][name] = weight
        adam = {p: torch.optim.Adam(w.values(), betas=(0.5, 0.99)) for p, w in owned.items() if w}
        return run, {p: NamedOptimizer(adam[p], owned[p], WarmUp(1e-3, 0)) for p in adam}

    @hookimpl
    def train_batch(self, state, batch):
        run, players = state
        critic = run.network.extra.get("critic")
        drawn, drawing, judging, losses = run.forward(batch.inputs, training=True), [], [], []
        for side in run.network.sides:
            pairs = zip(run.network.outputs_of(side), batch.targets[side], strict=True)
            parts = []
            for (i, output), real in ((o, t) for o, t in pairs if t is not None):
                values = {"mae": (drawn[i] - real).abs().mean()}
                if critic is not None and real.shape[1:] == critic.input_shape[1:]:
                    values["critic"] = 0.02 * softplus(-critic(drawn[i])).mean()
                    judging += [softplus(critic(drawn[i].detach())), softplus(-critic(real))]
                drawing += values.values()
                where = f"{output.kind}_{output.size}"
                parts += [LossPart(n, where, v.detach(), v.detach()) for n, v in values.items()]
            losses.append(BatchLoss(side, sum(part.weighted for part in parts), tuple(parts)))
        players["generator"].backward(sum(drawing))
        players["generator"].step()
        if judging:
            critic.zero_grad()  # of what the generator's loss left behind
            players["critic"].backward(torch.cat(judging).mean())
            players["critic"].step()
        return StepResult(losses)

    @hookimpl
    def trainer_state(self, state):
        return {player: optimizer.state() for player, optimizer in state[1].items()}

    @hookimpl
    def restore_trainer(self, state, tree):
        for player, optimizer in state[1].items():
            optimizer.restore(tree[player])
