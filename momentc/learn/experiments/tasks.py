"""What is learned in the experiments: a teacher, a cylindrical harmonic, random lines in context.

Appendix E of the paper, the caption of Fig. 4, and Appendix F.
"""

from dataclasses import dataclass

import torch
from scipy.special import jv
from torch import Tensor, nn

from momentc.learn.experiments.runs import seed_of
from momentc.learn.experiments.training import two_layers

__all__ = ["Lesson", "Lines", "harmonic", "square_points"]


def square_points(count: int, random: torch.Generator) -> Tensor:
    """Return (count, 2) points of the square [-1, 1]^2, one coordinate drawn after the other."""
    drawn = [torch.rand(count, generator=random) for _ in range(2)]
    return 2.0 * torch.stack(drawn, dim=1) - 1.0


class Lesson:
    """A teacher of two layers with all parameters uniform in [-1, 1], and what it says.

    The paper leaves range and seeds open. Both are those of the authors' code (see the README in
    benchmarks/published): the teacher comes from the seed 10 s, training samples from s^2, test
    points from s^3. So s = 42 gives the teacher and the samples of the published Fig. 3.

    Parameters
    ----------
    width : int
    seed : int
        s.
    """

    def __init__(self, width: int, seed: int) -> None:
        self._seed = seed
        model = two_layers(width, 10 * seed)
        random = torch.Generator().manual_seed(10 * seed)
        _skip_initial(model, random)
        first, last = model[0], model[2]
        for parameter in (first.weight, last.weight, first.bias, last.bias):
            assert isinstance(parameter, Tensor)
            parameter.requires_grad_(False)
            parameter.uniform_(-1.0, 1.0, generator=random)
        self._model = model

    def train_set(self, count: int, noise: float, shift: int = 0) -> tuple[Tensor, Tensor]:
        """Return samples with noise; other ones for another `shift`."""
        random = torch.Generator().manual_seed(self._seed**2 + shift)
        x = square_points(count, random)
        return x, self._model(x) + noise * torch.randn(count, generator=random)[:, None]

    def test_set(self, count: int) -> tuple[Tensor, Tensor]:
        """Return points and the teacher's true answers."""
        # 0 and 1 are their own squares and cubes: training and test would be the same points.
        seed = self._seed**3 if self._seed > 1 else seed_of(self._seed, 0)
        x = square_points(count, torch.Generator().manual_seed(seed))
        return x, self._model(x)


def _skip_initial(model: nn.Sequential, random: torch.Generator) -> None:
    """Draw what torch's own initialisation of the layers has drawn before."""
    for layer in (model[0], model[2]):
        for parameter in (layer.weight, layer.bias):
            assert isinstance(parameter, Tensor)
            torch.rand(parameter.shape, generator=random)


def harmonic(points: Tensor, order: int, frequency: float) -> Tensor:
    """Return ``J_n(q r) cos(n theta)`` as a column; n = 6 and q = 20 in Fig. 4."""
    radius = points.double().norm(dim=1)
    angle = torch.atan2(points[:, 1], points[:, 0]).double()
    bessel = torch.from_numpy(jv(order, frequency * radius.numpy()))
    return (bessel * torch.cos(order * angle))[:, None].to(points.dtype)


@dataclass(frozen=True, slots=True)
class Lines:
    """Regression in context on random piecewise linear functions (Appendix F).

    Parameters
    ----------
    segments : int
        K equal parts of [0, 1], each with a slope from N(0, 1).
    context : int
        Noisy points that are shown before the question.
    first : float
        Standard deviation of f(0).
    noise : float
        Standard deviation of what is added to the points shown.
    """

    segments: int = 16
    context: int = 8
    first: float = 0.5
    noise: float = 0.3

    def draw(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return (count, 2 context + 1, 1) tokens x_1, y_1, ..., x_*, and (count, 1) answers."""
        slopes = torch.randn(count, self.segments, generator=random)
        start = self.first * torch.randn(count, 1, generator=random)
        x = torch.rand(count, self.context + 1, generator=random)
        noise = self.noise * torch.randn(count, self.context, generator=random)
        # f at the left ends of the segments, and from there along the segment of each x.
        steps = torch.cat([start, slopes / self.segments], dim=1).cumsum(dim=1)
        segment = (x * self.segments).long().clamp_(max=self.segments - 1)
        along = x - segment / self.segments
        y = steps.gather(1, segment) + slopes.gather(1, segment) * along
        pairs = torch.stack([x[:, :-1], y[:, :-1] + noise], dim=2).flatten(1)
        return torch.cat([pairs, x[:, -1:]], dim=1)[..., None], y[:, -1:]
