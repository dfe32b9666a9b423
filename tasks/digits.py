"""A real classification problem that trains in a fraction of a second per step on one core.

scikit-learn's handwritten digits (8 x 8 pixels, 10 classes) with so few images to train on that
the network fits them all: what a validation image then costs is decided by how it was regularised,
and how much it should be regularised changes in the course of training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from romul_slurm import Step

_SPLIT_SEED = 0
"""Not the population's seed: populations are comparable only on the same split."""

_BRIGHTEST = 16.0
"""The data set's largest pixel value."""


class Digits:
    """Trains a small network by SGD; scored by its cross-entropy on the validation images.

    The test images, which no decision may depend on, only show up in the metrics. A step's result
    depends on its seed, its hyperparameters and its parent alone, whether it was interrupted or
    not (in the last digits also on the number of threads, as OMP_NUM_THREADS sets it).

    The searched hyperparameters are SGD's `lr`, `momentum` and `weight_decay`, `dropout` (the
    chance that a hidden unit is dropped) and `noise` (standard deviation of the Gaussian noise on
    a pixel; pixels are in [0, 1]).

    Args:
        train_images: number of images to train on.
        validation_images: number of images that give the score; all others are test images.
        hidden: units in each of the two hidden layers.
        batch: images per update, drawn anew with replacement.
        updates: updates per epoch, the unit of the population's `interval`.
    """

    def __init__(
        self, train_images: int, validation_images: int, hidden: int, batch: int, updates: int
    ):
        self._train, self._validation, self._test = split(train_images, validation_images)
        self._hidden = hidden
        self._batch = batch
        self._updates = updates

    def __call__(self, step: Step) -> float:
        """Train one step; return the validation cross-entropy in nats per image."""
        model, optimizer = self._build(step)
        state = step.load()
        if state is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        step.apply(optimizer)  # after the parent's values came back with its state

        def current() -> dict[str, Any]:
            return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}

        for epoch in step.epochs(state):
            self._train_epoch(model, optimizer, step, epoch)
            step.checkpoint(current)
        step.save(current())
        score = self._score(model, step)
        print(f"age {step.age + 1}: validation cross-entropy {score:.4f}")  # see romul logs
        return score

    def _build(self, step: Step) -> tuple[nn.Module, torch.optim.SGD]:
        """Return the network with its initial weights, and its optimizer."""
        torch.manual_seed(step.seed)
        dropout = step.hyperparameters["dropout"]
        model = nn.Sequential(
            nn.Linear(64, self._hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(self._hidden, self._hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(self._hidden, 10),
        )
        return model, torch.optim.SGD(model.parameters(), lr=step.hyperparameters["lr"])

    def _train_epoch(
        self, model: nn.Module, optimizer: torch.optim.SGD, step: Step, epoch: int
    ) -> None:
        # seeded per epoch: whoever continues an interrupted step draws what it would have drawn
        torch.manual_seed(_mix(step.seed, epoch))
        pixels, labels = self._train
        noise = step.hyperparameters["noise"]
        model.train()
        for _ in range(self._updates):
            drawn = torch.randint(len(labels), (self._batch,))
            clean = pixels[drawn]
            loss = cross_entropy(model(clean + noise * torch.randn_like(clean)), labels[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def _score(self, model: nn.Module, step: Step) -> float:
        model.eval()
        score, validation_accuracy = _measure(model, *self._validation)
        test_score, test_accuracy = _measure(model, *self._test)
        step.log(
            validation_accuracy=validation_accuracy,
            test_accuracy=test_accuracy,
            test_cross_entropy=test_score,
        )
        return score


Images = tuple[Tensor, Tensor]
"""Pixels in [0, 1], float32 of shape (n, 64), and labels 0..9, int64 of shape (n,)."""


def split(train_images: int, validation_images: int) -> tuple[Images, Images, Images]:
    """Return images for training, validation and test, the same ones in every run.

    Every part has the ten digits in equal proportions.
    """
    pixels, labels = load_digits(return_X_y=True)
    parts, rest = [], np.arange(len(labels))
    for size in (train_images, validation_images):
        part, rest = train_test_split(
            rest, train_size=size, stratify=labels[rest], random_state=_SPLIT_SEED
        )
        parts.append(part)
    x = torch.tensor(pixels / _BRIGHTEST, dtype=torch.float32)
    y = torch.tensor(labels)
    train, validation, test = ((x[part], y[part]) for part in (*parts, rest))
    return train, validation, test


def _measure(model: nn.Module, pixels: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return cross-entropy (nats per image) and accuracy."""
    logits = model(pixels)
    right = logits.argmax(1) == labels
    return float(cross_entropy(logits, labels)), float(right.float().mean())


def _mix(seed: int, epoch: int) -> int:
    """Return a seed that is unlike those of other epochs and other steps."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
