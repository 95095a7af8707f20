"""The trainer: loop, precision, checkpoints, weight average, log. It works with any task."""

from __future__ import annotations

import hashlib
import math
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from commoncanvas.config import Recipe, as_recipe
from commoncanvas.core.console import progress, say
from commoncanvas.core.errors import RecipeError, TrainingError, TrainingStopped
from commoncanvas.core.files import only_one
from commoncanvas.core.text import counted
from commoncanvas.models.devices import DTYPES, multiplies_bf16
from commoncanvas.models.threads import threads
from commoncanvas.provenance.record import unknown_parts
from commoncanvas.training.checkpoints.checkpoint import Checkpoints
from commoncanvas.training.distributed.ranks import Loss, Ranks, check_shares, joined
from commoncanvas.training.distributed.sharding import Whole, full, shared_loss, unsynchronised
from commoncanvas.training.ema import EMA
from commoncanvas.training.flops import peak_flops, sample_flops
from commoncanvas.training.loader import Loader, positions_by_kind
from commoncanvas.training.log import RunLog
from commoncanvas.training.meter import Meter
from commoncanvas.training.model_folder import write_model
from commoncanvas.training.optimizations import apply_tricks
from commoncanvas.training.optimizer import make_optimizer
from commoncanvas.training.resume import Run, fingerprint, leave_out_taken_down
from commoncanvas.training.schedule import learning_rate_at
from commoncanvas.training.signals import stop_signals
from commoncanvas.training.task import HALFWAY, Batch, Task, first_batch
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.validation import MakeJudge, validation_of

SHOWN = 8


def train(
    recipe: Recipe | str | Path | Mapping[str, Any],
    *,
    resume: bool = False,
    without_taken_down: bool = False,
    judges: MakeJudge | None = None,
) -> Path:
    """Train `recipe` (a Recipe, or its name, path or fields), write its model folder and return the folder's path.

    `resume`: continue the run from its newest checkpoint, or start it if there is none. Without it, an existing run
    is an error. With it, a run can be extended to more steps if its schedule allows (constant, or a trapezoid before
    its decay); the weights are then those of a run that had this length from the start.
    Images that were taken down from a catalog are not trained on. If some were taken down since the run started, it
    continues only with `without_taken_down`; the records of the run and of the model say from which step on.
    `judges` measures the images of a recipe with `validation`; `commoncanvas.train` gives one.

    Raises TrainingError; after SIGTERM or Ctrl-C it saves the state and raises TrainingStopped.
    """
    recipe = as_recipe(recipe)
    with joined(recipe.train.device) as ranks, ExitStack() as stack:
        check_shares(recipe.name, recipe.train, ranks)
        with ranks.first():
            # The main process starts the run; the others join it.
            run = Run(recipe, resume or not ranks.main)
            recipe = run.recipe
            torch.manual_seed(recipe.seed)
            # Check that the recipe can be trained before any file is written.
            task = make_task(recipe, run.pins)
            finished = run.finished(task)
            if run.record and ranks.main and not finished:
                task = leave_out_taken_down(run, task, without_taken_down)
            trainer = None if finished else Trainer(recipe, run, task, ranks, judges)
            if trainer and ranks.main:
                trainer.checkpoints.check(run.checkpoints_before, resume)
                stack.enter_context(only_one(run.folder))
                if run.lengthened is not None:
                    trainer.checkpoints.keep_until(run.lengthened)
                for line in (*task.notes, *unknown_parts(recipe.name, task.parts)):
                    say(line)
                run.begin(task)
        seen = ranks.gathered((run.id, finished))
        if finished and ranks.main:
            say(f"{recipe.name} is finished: {run.model_folder}")
        # The main process decides, because it has the model folder.
        if seen[0][1]:
            return run.model_folder
        run.check_same_run(seen)
        assert trainer is not None
        return trainer.run()


class Trainer:
    """Runs one task to its end."""

    def __init__(
        self, recipe: Recipe, run: Run, task: Task, ranks: Ranks, judges: MakeJudge | None = None
    ) -> None:
        self.recipe = recipe
        self.config = config = recipe.train
        self.run_files = run
        self.task = task
        self.ranks = ranks
        self.loader = Loader(task, recipe, ranks)
        if config.validate_every and not len(self.task.rows.ids("heldout")):
            raise RecipeError(
                f"{recipe.name}: train.validate_every needs held-out rows; set data.heldout_fraction"
            )
        self.validation = validation_of(recipe, task, ranks, judges)
        self.device = ranks.device
        if ranks.main and config.precision == "bf16" and not multiplies_bf16(self.device):
            say(
                f"{recipe.name}: this {self.device.type} does not support bf16 natively; "
                "--train.precision auto is much faster"
            )
        self.model = apply_tricks(self.task.model.to(self.device), config, recipe.name)
        self.whole = Whole(self.model, ranks)
        self.loss: nn.Module
        self.optimizer: torch.optim.Optimizer
        self.ema: EMA | None = None
        self.checkpoints = Checkpoints(
            run.checkpoints, config.keep_checkpoints, fingerprint(recipe, task), ranks, run.earlier
        )
        self.step = 0
        self._skipped = 0
        """Steps skipped in a row, up to now."""

    def share(self) -> None:
        """Distribute the training over the ranks and make the optimiser. Every rank must call it."""
        config = self.config
        self.loss = shared_loss(Loss(self.task, self.model), config, self.ranks)
        self.optimizer = make_optimizer(self.model, config)
        if isinstance(self.loss, DistributedDataParallel):
            self._settle()

    def _settle(self) -> None:
        """Compute gradients once and discard them: DDP reorders its buckets after its first backward pass, and their
        order decides how sums over three or more processes are rounded. Without this, a resumed run would differ.
        """
        self.model.train()
        saved = [buffer.clone() for buffer in self.model.buffers()]
        kinds = self.task.rows.kinds_of("train")
        share = self.config.batch_size // self.ranks.world
        batch = first_batch(self.task, min(share, int((kinds == kinds[0]).sum())), kind=int(kinds[0]))
        self._backward({name: tensor.to(self.device) for name, tensor in batch.items()})
        self.optimizer.zero_grad()
        for buffer, before in zip(self.model.buffers(), saved, strict=True):
            buffer.copy_(before)

    def run(self) -> Path:
        saved = self.checkpoints.steps()
        self.run_files.check_same_run(self.ranks.gathered(saved[-1:]))
        self.step = saved[-1] if saved else 0
        busy_seconds = self._busy_seconds()
        self.share()
        if saved:
            self._begin_average(self.step - 1)
            self.checkpoints.load(self.step, self.model, self.optimizer, self.ema)
        main = self.ranks.main
        name = f"train {self.recipe.name}"
        with (
            RunLog(self.run_files.tracked(self.step), self.config.trackers) if main else nullcontext() as log,
            stop_signals() as stopped,
            closing(self.checkpoints),
            progress(name, self.config.steps, "steps", self.step, shown=main) as bar,
            closing(self.loader.batches(self.step, self.config.steps)) as steps,
        ):
            self.model.train()
            last = self.config.steps
            meter = Meter(self.device)
            began = time.monotonic()
            while self.step < last:
                with meter.waiting():
                    step, batch = next(steps)
                working = threads().follow()
                loss, grad_norm, finite = self.train_step(step, batch)
                busy = busy_seconds[self.loader.kind(step)]
                meter.add(self.config.batch_size, busy, loss, grad_norm, finite)
                self.step = step + 1
                bar.advance()
                stopping = self.ranks.any(bool(stopped))
                saves = stopping or self._due(self.config.checkpoint_every)
                if log and self._due(self.config.log_every):
                    rate = learning_rate_at(step, self.config)
                    self._say_if_slow(meter)
                    figures = {"loss": loss, "grad_norm": grad_norm, "learning_rate": rate, **meter.read()}
                    figures |= {"threads": working} if self.device.type == "cpu" else {}
                    log.write(self.step, figures | {"seconds": time.monotonic() - began})
                    bar.note(f"loss {loss:.4f}")
                if self.config.validate_every and self._due(self.config.validate_every):
                    averaged = self._averaged()
                    if log:
                        log.write(self.step, {"validation_loss": self.validation_loss(averaged)})
                if self.validation and self._due(self.validation.every):
                    figures, marks = self.validation(self.whole.everywhere(self._average()))
                    if log:
                        log.write(self.step, figures, marks)
                # Before the checkpoint: a run killed between the two draws the samples again.
                if self.config.sample_every and self.step % self.config.sample_every == 0:
                    self._draw()
                stuck = self._skipped > self.config.most_skipped
                lost = [] if finite or not (saves or stuck) else self._not_finite(step, batch)
                # If no sample has a finite loss, the weights are broken and not saved. The previous checkpoint may
                # still be usable.
                sound = len(lost) < self.config.batch_size
                if saves and sound:
                    self._save()
                if stuck or (self.step == last and not sound):
                    raise self._diverged(step, lost, loss, grad_norm)
                if stopping:
                    number = stopped[0] if stopped else signal.SIGTERM  # or another process received it
                    raise TrainingStopped(
                        f"stopped by {number.name} after step {self.step} of {last}; "
                        "to continue, run the same command with --resume",
                        number,
                    )
        averaged = self._averaged()
        if not main:
            return self.run_files.model_folder
        return write_model(
            self.recipe,
            self.task,
            averaged,
            fingerprint(self.recipe, self.task),
            self.run_files.model_folder,
            self.run_files.taken_down,
        )

    def _busy_seconds(self) -> list[float]:
        """Seconds per image of each kind if all devices computed at their peak."""
        peak = peak_flops(self.device, DTYPES[self.config.precision]) * self.ranks.world
        seconds = []
        for kind in np.unique(self.task.rows.kinds_of("train")):
            batch = first_batch(self.task, 1, kind=int(kind))
            batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
            with self._autocast():
                seconds.append(sample_flops(self.task, self.model, batch) / peak)
        return seconds

    def _say_if_slow(self, meter: Meter) -> None:
        if slowdown := meter.slowdown():
            other_cores = threads().others if self.device.type == "cpu" else 0.0
            reason = f"; other programs use {other_cores:.1f} cores" if other_cores > 0.2 else ""
            say(f"{self.recipe.name}: {slowdown}{reason}")

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.steps

    def train_step(self, step: int, batch: Batch) -> tuple[float, float, bool]:
        """Do one update, but skip it if the loss or gradient is not finite. Returns the loss, the gradient's norm
        before clipping, and whether both are finite.
        """
        # All random numbers of a step depend on the seed and the step; those of dropout also on the rank.
        seed = step_seed(self.recipe.seed, step)
        torch.manual_seed(seed + self.ranks.rank)
        generator = torch.Generator(self.device).manual_seed(seed)
        learning_rate = learning_rate_at(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        batch = self._drawn(step, batch, generator)
        self._begin_average(step)
        loss = self.ranks.mean(self._backward(batch))
        grad_norm = self._clip()
        finite = math.isfinite(float(loss)) and math.isfinite(float(grad_norm))
        self._skipped = 0 if finite else self._skipped + 1
        if finite:
            self.optimizer.step()
        if self.ema:  # also after a skipped step, because its intervals count all steps
            self.ema.update(step - self.config.ema_start, last=step + 1 == self.config.steps)
        self.optimizer.zero_grad()
        return float(loss), float(grad_norm), finite

    def _drawn(self, step: int, batch: Batch, generator: torch.Generator) -> Batch:
        """This process's part of a batch and the random inputs of the step, on its device."""
        batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        share = self.ranks.share(self.config.batch_size)
        drawn = self.task.random_inputs(self.config.batch_size, batch, generator, step / self.config.steps)
        return batch | {name: tensor[share] for name, tensor in drawn.items()}

    def _clip(self) -> torch.Tensor:
        """Clip the gradients' norm to `grad_clip`, if it is set; return the norm before clipping."""
        # From the optimiser's list: collecting the weights from all modules takes longer than the norm.
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        length, limit = full(norm), self.config.grad_clip
        if limit and float(length) > limit:
            clip_grads_with_norm_(weights, limit, norm)
        return length

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Add up the gradients of this process's part of a batch, `micro_batch` samples at a time; its mean loss."""
        total = torch.zeros((), device=self.device)
        size = len(next(iter(batch.values())))
        at_once = self.config.micro_batch or size
        for start in range(0, size, at_once):
            some = {name: tensor[start : start + at_once] for name, tensor in batch.items()}
            # Gradients are averaged over the processes once, with the last samples.
            more = start + at_once < size
            with unsynchronised(self.loss) if more else nullcontext():
                with self._autocast():
                    loss = self.loss(some) * (min(at_once, size - start) / size)
                loss.backward()
            total += loss.detach()
        return total

    @torch.no_grad()
    def validation_loss(self, model: nn.Module) -> float:
        """Mean loss of the first `validate_rows` held-out rows, with the same random inputs each time."""
        rows, most = self.task.rows, self.config.validate_rows
        ids, kinds = rows.ids("heldout")[:most], rows.kinds_of("heldout")[:most]
        generator = torch.Generator(self.device).manual_seed(self.recipe.seed)
        # One process computes it, so it takes only as many samples at a time as in a training step.
        total, at_once = 0.0, self.config.micro_batch or self.config.batch_size // self.ranks.world
        for places in positions_by_kind(kinds):
            draws: Batch = {}
            for start in range(0, len(places), at_once):
                part = slice(start, start + at_once)
                table = rows.read("heldout", places[part], list(self.task.columns))
                batch = self.task.batch(table, np.zeros(len(table)))
                batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
                draws = draws or self.task.random_inputs(len(places), batch, generator, HALFWAY)
                batch |= {name: tensor[part] for name, tensor in draws.items()}
                with self._autocast():
                    total += float(self.task.loss(model, batch)) * len(table)
        return total / len(ids)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def _begin_average(self, step: int) -> None:
        """Start the average of the weights at step `ema_start`; before it, it would only take memory. Only the main
        process keeps it. If weights are sharded, each process keeps the average of its shards.
        """
        decay, keeps = self.config.ema_decay, self.ranks.main or self.config.sharding != "none"
        if decay and self.ema is None and keeps and step >= self.config.ema_start:
            self.ema = EMA(self.model, decay, self.config.ema_every)

    def _diverged(self, step: int, lost: list[int], loss: float, grad_norm: float) -> TrainingError:
        """Name the samples whose loss alone is not finite, or else the first samples of the batch."""
        train = self.task.rows.table.filter(self.task.rows.table["split"].to_numpy() == "train")["image_id"]
        positions = self.loader.samples(step).positions
        ids = train.take((positions[lost] if lost else positions)[:SHOWN]).to_pylist()
        alone = f"{counted(len(lost), 'samples')} without a finite loss"
        found = alone if lost else "each sample alone has a finite loss; the first ones"
        return TrainingError(
            f"{self.recipe.name}: loss {loss}, gradient norm {grad_norm} at step {self.step}; not finite for "
            f"{counted(self._skipped, 'steps')} in a row ({found}: {', '.join(ids)}"
            f"{', ...' if not lost or len(lost) > SHOWN else ''}); check these samples, or start again with another "
            "--out and a lower train.learning_rate"
        )

    @torch.no_grad()
    def _not_finite(self, step: int, batch: Batch) -> list[int]:
        """Positions, in the step's whole batch, of samples whose loss alone is not finite."""
        generator = torch.Generator(self.device).manual_seed(step_seed(self.recipe.seed, step))
        batch = self._drawn(step, batch, generator)
        share = self.ranks.share(self.config.batch_size)
        lost = []
        for place in range(share.stop - share.start):
            with self._autocast():
                loss = self.loss({name: tensor[place : place + 1] for name, tensor in batch.items()})
            if not math.isfinite(float(loss)):
                lost.append(share.start + place)
        return [place for each in self.ranks.gathered(lost) for place in each]

    def _averaged(self) -> nn.Module:
        """The whole model, with the averaged weights if there are any. Every rank must call it."""
        return self.whole.holding(self._average())

    def _average(self) -> dict[str, torch.Tensor]:
        """The weights by name, averaged if there is an average."""
        weights: dict[str, torch.Tensor] = self.model.state_dict()
        return weights | (self.ema.tensors if self.ema else {})

    def _save(self) -> None:
        self.checkpoints.save(self.step, self.model, self.optimizer, self.ema)

    def _draw(self) -> None:
        model = self._averaged()
        if not self.ranks.main:
            return
        folder = self.run_files.folder / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            self.task.save_samples(model, folder / f"step-{self.step:08d}.png")


def step_seed(seed: int, step: int) -> int:
    """A 63-bit seed for one step, independent of those of other steps and seeds."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:8]) >> 1
