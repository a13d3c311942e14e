"""ResidualNet, the base of the residual nets: stem, body, global mean, head, He's initialisation of convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """Residual blocks of one width."""

    width: int
    n_blocks: int


class ResidualNet(nn.Module):
    """Stem, residual blocks, global mean, head. He et al. 2015, arXiv:1502.01852, for the initialisation."""

    def __init__(self, stem: nn.Module, body: list[nn.Module], wide: int, n_classes: int) -> None:
        """`wide` is the number of channels of the body's output."""
        super().__init__()
        self.stem = stem
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(wide, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.body(self.stem(x)).mean((2, 3)))
        return logits
