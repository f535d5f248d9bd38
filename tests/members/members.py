"""Four members that the package does not have: what its interface must be able to carry."""

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from sklearn_fewshot.base import BaseFewShotLearner, with_common_parameters
from sklearn_fewshot.nn import FewShotModule, to_state
from sklearn_fewshot.nn.heads import PrototypicalHead
from sklearn_fewshot.nn.heads._matching import in_canonical_order


class GradientNet(FewShotModule):
    """A small network whose weights take gradient steps on the support set (Finn et al., 2017).

    The last layer starts at zero: any number of classes, and none is special.
    """

    def __init__(self, input_shape, *, n_hidden=32, n_steps=4, step_size=1.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), n_hidden), nn.Tanh()
        )
        self.log_step_size = nn.Parameter(torch.tensor(float(step_size)).log())
        self.n_hidden, self.n_steps = n_hidden, n_steps

    def adapt(self, support):
        count = to_state(support)["count"]
        weights = vmap(self._descend)(support.inputs, support.target, support.weight, count)
        return weights | {"count": count}

    def predict(self, state, inputs):
        count = state["count"]
        weights = {name: value for name, value in state.items() if name != "count"}
        return vmap(self._logits)(weights, inputs).masked_fill(count.unsqueeze(1) == 0, -torch.inf)

    def _logits(self, weights, inputs):
        body = {name: value for name, value in weights.items() if name != "last"}
        return functional_call(self.body, body, (inputs,)) @ weights["last"].mT

    def _descend(self, inputs, target, weight, count):
        """Take the steps in one episode, by the mean cross-entropy of its examples."""

        def loss(weights):
            logits = self._logits(weights, inputs)  # (n_support, n_classes)
            own = logits.gather(1, target.unsqueeze(1)).squeeze(1)
            total = logits.masked_fill(count == 0, -torch.inf).logsumexp(dim=1)
            return (weight * (total - own)).sum() / weight.sum()

        weights = dict(self.body.named_parameters())
        weights["last"] = inputs.new_zeros(len(count), self.n_hidden)
        for _ in range(self.n_steps):
            slope = grad(loss)(weights)
            weights = {k: w - self.log_step_size.exp() * slope[k] for k, w in weights.items()}
        return weights


@with_common_parameters
class GradientNetClassifier(BaseFewShotLearner):
    """Adapts by gradient steps.

    Parameters
    ----------
    n_steps : int, default=4
        Gradient steps.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}
    """

    def __init__(self, *, n_steps=4, **common):
        self.n_steps = n_steps
        super().__init__(**common)

    def _module(self):
        return GradientNet, {"n_steps": self.n_steps}


class ReaderNet(FewShotModule):
    """A recurrent network reads the examples with their labels, another answers from its memory.

    Labels are numbers in canonical order: what the classes are called is not read.
    """

    def __init__(self, input_shape, *, n_outputs=5, n_hidden=64):
        super().__init__()
        self.n_outputs, n_features = n_outputs, torch.Size(input_shape).numel()
        self.reader = nn.GRU(n_features + n_outputs, n_hidden, batch_first=True)
        self.answer = nn.Sequential(
            nn.Linear(n_features + n_hidden, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_outputs)
        )

    def adapt(self, support):
        count = to_state(support)["count"]
        read = in_canonical_order(support)
        n_episodes, n_support = read.target.shape
        place = torch.arange(n_support, device=read.target.device).expand(n_episodes, -1)
        place = place.masked_fill(read.weight == 0, n_support)  # padding is last
        first = place.new_full(count.shape, n_support).scatter_reduce(1, read.target, place, "amin")
        rank = first.argsort(dim=1, stable=True).argsort(dim=1)  # (n_episodes, n_classes)
        label = nn.functional.one_hot(rank.gather(1, read.target), self.n_outputs)
        memory, _ = self.reader(torch.cat([read.inputs, label.to(read.inputs)], dim=-1))
        last = (read.weight > 0).sum(dim=1) - 1
        return {"memory": memory[torch.arange(n_episodes), last], "rank": rank, "count": count}

    def predict(self, state, inputs):
        query = inputs.flatten(2)
        memory = state["memory"].unsqueeze(1).expand(-1, query.shape[1], -1)
        by_rank = self.answer(torch.cat([query, memory], dim=-1))  # (..., n_outputs)
        rank, absent = (value.unsqueeze(1) for value in (state["rank"], state["count"] == 0))
        logits = by_rank.gather(2, rank.expand(-1, query.shape[1], -1))
        return logits.masked_fill(absent, -torch.inf)  # (n_episodes, n_queries, n_classes)


@with_common_parameters
class ReaderNetClassifier(BaseFewShotLearner):
    """Reads the support set.

    Parameters
    ----------
    {common_parameters}

    Attributes
    ----------
    {common_attributes}
    """

    def __init__(self, **common):
        super().__init__(**common)

    def _module(self):
        return ReaderNet, {"n_outputs": 5}


class SoftKMeansHead(PrototypicalHead):
    """Prototypes that move towards the queries, by their class probabilities: transductive."""

    independent_queries = False

    def score(self, state, query):
        share = super().score(state, query).softmax(dim=-1)  # (n_episodes, n_queries, n_classes)
        count = state["count"].to(query.dtype).unsqueeze(-1)
        total = count * state["prototype"].flatten(2) + share.mT @ query.flatten(2)
        weight = count + share.sum(dim=1).unsqueeze(-1)  # 0 for classes that are not there
        return super().score(state | {"prototype": total / weight.clamp_min(1e-12)}, query)


@with_common_parameters
class SoftKMeansClassifier(BaseFewShotLearner):
    """Looks at all queries before it answers any.

    Parameters
    ----------
    {common_parameters}

    Attributes
    ----------
    {common_attributes}
    """

    def __init__(self, **common):
        super().__init__(**common)

    def _head(self):
        return SoftKMeansHead, {}


class RidgeRegressor(FewShotModule):
    """Ridge regression on learned features, in closed form (Bertinetto et al., 2019)."""

    def __init__(self, input_shape, *, n_hidden=40):
        super().__init__()
        n_features = torch.Size(input_shape).numel()
        self.features = nn.Sequential(
            nn.Linear(n_features, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_hidden), nn.ReLU()
        )
        self.log_penalty = nn.Parameter(torch.tensor(0.0))

    def adapt(self, support):
        rows = self._rows(support.inputs)  # (n_episodes, n_support, d)
        weighted = support.weight.unsqueeze(-1) * rows
        penalty = self.log_penalty.exp() * torch.eye(rows.shape[-1]).to(rows)
        gram = rows.mT @ weighted + penalty
        return {"coefficients": torch.linalg.solve(gram, weighted.mT @ support.target)}

    def predict(self, state, inputs):
        return self._rows(inputs) @ state["coefficients"]  # (n_episodes, n_queries, n_targets)

    def _rows(self, inputs):
        return nn.functional.pad(self.features(inputs.flatten(2)), (0, 1), value=1.0)  # intercept
