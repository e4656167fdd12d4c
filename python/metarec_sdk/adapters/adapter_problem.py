"""What the learning of adapters is given, and the losses of any adapters on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from metarec_sdk.adapters.acceptance import Verdict
from metarec_sdk.adapters.batch import EpisodeTensors, episode_tensors
from metarec_sdk.adapters.catalogue_loss import candidates, query_losses
from metarec_sdk.adapters.gates import (
    calibrated,
    fit_gates,
    gated,
    judge,
    log_popularity,
)
from metarec_sdk.adapters.sites import Sites, Tensors
from metarec_sdk.adapters.task_adapter import soft_delta
from metarec_sdk.types import Backbone, Episodes, Memberships

_GRADIENT_BLOCK = 512


@dataclass
class AdapterProblem:
    """Episodes of a frozen backbone, ready for training."""

    sites: Sites
    n_tasks: int
    training: EpisodeTensors
    inputs: Tensors
    validation: EpisodeTensors
    validation_inputs: Tensors
    popularity: torch.Tensor
    gates: torch.Tensor
    """f[N_BINS, 3], those of the last `validation_loss`."""
    generator: torch.Generator

    @classmethod
    def build(
        cls,
        backbone: Backbone,
        n_tasks: int,
        training: tuple[Episodes, Memberships],
        validation: tuple[Episodes, Memberships],
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> AdapterProblem | None:
        """Encode every support once and fit the gates of the backbone without adapters.

        None where training or validation has no episode with a query event outside its support.
        """
        sites = Sites.of(backbone, dtype)
        drawn, rows = episode_tensors(*training, n_tasks, dtype=dtype)
        judged, judged_rows = episode_tensors(*validation, n_tasks, dtype=dtype)
        if not len(drawn) or not len(judged):
            return None
        inputs = sites.inputs(training[0].support.take(rows))
        judged_inputs = sites.inputs(validation[0].support.take(judged_rows))
        popularity = log_popularity(drawn, len(sites.items))
        gates = fit_gates(sites.scorer(judged_inputs, judged, {}, {}), judged, popularity)
        return cls(
            sites,
            n_tasks,
            drawn,
            inputs,
            judged,
            judged_inputs,
            popularity,
            gates,
            generator,
        )

    def losses(self, rows: torch.Tensor, down: Tensors, up: Tensors) -> torch.Tensor:
        """f[rows], the summed query loss of training episodes, each user counted once; differentiable."""
        batch = self.training.take(rows)
        chosen = candidates(batch, len(self.sites.items), self.generator)
        part = {name: value[rows] for name, value in self.inputs.items()}
        scores = self.sites.hidden(part, batch, down, up) @ chosen.of(self.sites.items).T
        logits = gated(scores, self.popularity, self.gates, batch.bins, chosen)
        return query_losses(logits, batch, chosen) * batch.share

    def validation_loss(self, down: Tensors, up: Tensors) -> float:
        """Mean validation loss in nats, for early stopping, under gates that are fitted anew.

        Training goes on with these gates. They come from people that the backbone wasn't trained on: on its
        own people it looks surer than it is, and gates trained there would grow beyond measure.
        """
        scorer = self.sites.scorer(self.validation_inputs, self.validation, down, up)
        self.gates = fit_gates(scorer, self.validation, self.popularity, guess=self.gates)
        return judge(scorer, self.validation, self.popularity, self.gates).loss

    def judged(self, down: Tensors, up: Tensors) -> Verdict:
        """On validation, under gates that other users calibrated."""
        scorer = self.sites.scorer(self.validation_inputs, self.validation, down, up)
        return calibrated(scorer, self.validation, self.popularity)

    def output_gradients(self, rows: torch.Tensor, down: Tensors, up: Tensors) -> tuple[Tensors, Tensors]:
        """(g, x): per episode the gradient of its loss at each site's output f[rows, d_out] and the site's
        input f[rows, d_in], with the adapters as given."""
        gradients: dict[str, list[torch.Tensor]] = {site: [] for site in self.sites.sizes}
        site_inputs: dict[str, list[torch.Tensor]] = {site: [] for site in self.sites.sizes}
        for block in torch.split(rows, _GRADIENT_BLOCK):
            batch = self.training.take(block)
            probes = {
                site: torch.zeros(len(block), d_out, dtype=self.sites.items.dtype, requires_grad=True)
                for site, (_, d_out) in self.sites.sizes.items()
            }

            def probed(
                site: str, x: torch.Tensor, batch: EpisodeTensors = batch, probes: Tensors = probes
            ) -> torch.Tensor:
                site_inputs[site].append(x.detach())
                if site not in down:
                    return probes[site]
                return probes[site] + soft_delta(x @ down[site].T, up[site], batch.rows, batch.memberships)

            chosen = candidates(batch, len(self.sites.items), self.generator)
            part = {name: value[block] for name, value in self.inputs.items()}
            scores = self.sites.run(part, probed) @ chosen.of(self.sites.items).T
            logits = gated(scores, self.popularity, self.gates, batch.bins, chosen)
            loss = query_losses(logits, batch, chosen).sum()
            for site, gradient in zip(probes, torch.autograd.grad(loss, list(probes.values()))):
                gradients[site].append(gradient)
        return (
            {site: torch.cat(parts) for site, parts in gradients.items()},
            {site: torch.cat(parts) for site, parts in site_inputs.items()},
        )

    def one_per_user(self) -> torch.Tensor:
        """i64[users], one random training episode of each user."""
        order = torch.randperm(len(self.training), generator=self.generator)
        first = np.unique(self.training.users[order].numpy(), return_index=True)[1]
        return order[torch.from_numpy(first)]
