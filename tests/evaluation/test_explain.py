"""Explanations work for every model, equal formulas by hand, and are shown with hostile names as text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_models import small_models
from made_trainings import PLAIN, finish, made_data, new_run
from sklearn.decomposition import PCA
from test_report import HOSTILE, read_page
from torch import Tensor, nn

from pocketlens.cli import main
from pocketlens.data.dataset import Dataset, Loaded, seal
from pocketlens.errors import PocketlensError
from pocketlens.evaluation.explain import deep_features, first_filters, first_maps, project
from pocketlens.events import finish as run_to_its_end
from pocketlens.inference.class_activation import class_activation, has_class_activation, overlay, prepared_images
from pocketlens.report.run.explanations import sheet, write_explanations
from pocketlens.training import run_data
from pocketlens.training.classifier import Classifier
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.run import Run


def make_classifier(model: str, shape: tuple[int, int, int] = (32, 32, 3), n_classes: int = 4) -> Classifier:
    facts = {"model": model, "prepare": "none", "shape": list(shape), "seed": 0, "superclasses": None, "levels": None}
    facts |= {"classes": [*"abcdefgh"[:n_classes]], "superclass_of": None, "mean": [0.5] * shape[2]}
    return Classifier(ModelFacts.from_dict(facts | {"std": [0.25] * shape[2]}, "made"))


class Tiny(nn.Module):
    """A convolution, ReLU, the mean, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Looking(Tiny):
    """Sees red alone, and says class 0 for it."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.fill_(-1)  # type: ignore[union-attr]
            self.conv.weight[:, 0, 1, 1] = 1
            self.head.weight[0].fill_(1)


@pytest.mark.parametrize("model", small_models())
def test_every_model_can_be_explained(model: str) -> None:
    classifier = make_classifier(model)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    maps = first_maps(classifier, images.clone())
    heat = class_activation(classifier, images.clone(), [np.array([0, 1]), np.array([2, 3])])
    features = deep_features(classifier, images.clone())
    if model.startswith("mlp"):
        assert maps == []
        assert heat is None
        assert first_filters(classifier) is None
    elif not model.startswith("vit"):
        assert len(maps) >= 2
        assert heat is not None
        assert min(heat.size) >= 4
        assert [each.shape for each in heat.heat] == [(2, 32, 32)] * 2
        assert all(0 <= each.min() <= each.max() <= 1 for each in heat.heat)
    assert has_class_activation(classifier) is (heat is not None)
    assert features is not None
    assert features.shape[0] == 2
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert not any(module._forward_hooks for module in classifier.modules())


def test_grad_cam_of_a_net_that_ends_in_a_mean_is_the_class_activation_map() -> None:
    classifier = make_classifier("mlp(hidden=(4,))")
    classifier.net = net = Tiny().eval()
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = np.array([0, 3, 2])
    heat = class_activation(classifier, images.clone(), [labels])
    assert heat is not None
    with torch.no_grad():
        normed = net.norm(net.conv((images - 0.5) / 0.25))  # the last layer with a map: ReLU is a function
        slopes = (normed > 0).float().mean((2, 3)) * net.head.weight[torch.from_numpy(labels)]
        expected = torch.relu((slopes[:, :, None, None] * normed).sum(1))
        expected /= expected.amax((1, 2), keepdim=True).clamp_min(1e-12)
    np.testing.assert_allclose(heat.heat[0], expected.numpy(), atol=1e-5)


def test_the_map_points_at_what_the_net_looks_at() -> None:
    classifier = make_classifier("mlp(hidden=(4,))")
    classifier.net = Looking().eval()
    image = torch.zeros(1, 3, 16, 16)
    image[0, 0, 3, 12] = 1
    heat = class_activation(classifier, image, [np.array([0])])
    assert heat is not None
    assert np.unravel_index(heat.heat[0][0].argmax(), (16, 16)) == (3, 12)


def test_first_maps_are_those_of_the_layers() -> None:
    classifier = make_classifier("mlp(hidden=(4,))")
    classifier.net = net = Tiny().eval()
    net.head = nn.Conv2d(5, 4, 1)  # type: ignore[assignment]
    net.forward = lambda x: net.head(torch.relu(net.norm(net.conv(x)))).mean((2, 3))  # type: ignore[method-assign]
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    maps = first_maps(classifier, images)
    with torch.no_grad():
        conv = net.conv((images - 0.5) / 0.25)
        expected = [conv, net.norm(conv), torch.relu(net.norm(conv))]
    assert ["first conv" in maps[0].name, "normalisation" in maps[1].name, "activation" in maps[2].name] == [True] * 3
    for step, values in zip(maps, expected, strict=True):
        np.testing.assert_allclose(step.maps, values.numpy(), atol=1e-6)
    filters = first_filters(classifier)
    assert filters is not None
    assert filters.shape == (5, 3, 3, 3)
    assert filters.min(axis=(1, 2, 3)).tolist() == [0] * 5


def test_deep_features_are_what_the_last_layer_takes_and_are_projected_by_pca() -> None:
    classifier = make_classifier("lenet")
    images = torch.rand(30, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    features = deep_features(classifier, images, batch_size=7)
    assert features is not None
    linear = [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        logits = classifier.eval()(images)
        np.testing.assert_allclose(linear(torch.from_numpy(features)).numpy(), logits.numpy(), atol=1e-4)
    found = project(features)
    reference = PCA(2, svd_solver="full").fit(features.astype(np.float64))
    np.testing.assert_allclose(
        np.abs(found.components), np.abs(reference.transform(features.astype(np.float64))), atol=1e-4
    )
    assert found.shares == pytest.approx(tuple(reference.explained_variance_ratio_), rel=1e-4)
    assert found.tsne.shape == (30, 2)


def test_sheets_and_overlays() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 2, 1), np.uint8)
    grid = sheet(images, columns=2)
    assert grid[..., 0].tolist() == [
        [0, 0, 255, 1, 1],
        [0, 0, 255, 1, 1],
        [255] * 5,
        [2, 2, 255, 255, 255],
        [2, 2, 255, 255, 255],
    ]
    shown = overlay(np.full((1, 2, 3), 100, np.uint8), np.array([[0.0, 1.0]], np.float32))
    assert shown.tolist() == [[[100, 100, 100], [198, 100, 25]]]


def test_the_page_shows_hostile_names_as_text_and_the_command_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = made_data(64)
    dataset = Dataset("digits", made.images, made.labels, HOSTILE, made.hashes)
    run = new_run(tmp_path, PLAIN.changed(model="lenet", epochs=1.0), dataset, label=HOSTILE[1])
    finish(run, dataset)
    monkeypatch.setattr(run_data, "load", lambda text, folder, **_: Loaded(dataset, seal(dataset)))
    assert main(["explain", run.id, "--rows", "3,5", "--runs", str(tmp_path), "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["explain"])
    page = read_page(path)
    assert "row 3" in page.shown
    assert "after the first convolution" in page.shown
    assert all(name in page.shown for name in HOSTILE)
    assert "Principal components" in page.text["text"]
    assert main(["explain", run.id, "--rows", "64", "--runs", str(tmp_path)]) == 2
    assert "from 0 to 63, got 64" in capsys.readouterr().err
    run_without_maps = new_run(tmp_path, PLAIN.changed(epochs=1.0), dataset)
    finish(run_without_maps, dataset)
    path = run_to_its_end(write_explanations(Run(run_without_maps.path), dataset, [1]))
    assert "has no feature maps" in read_page(path).shown


def test_a_run_without_mistakes_says_so(tmp_path: Path) -> None:
    dataset = made_data(64)
    run = new_run(tmp_path, PLAIN, dataset, val_fraction=0.0)
    finish(run, dataset)
    with pytest.raises(PocketlensError, match="--rows 0,1"):
        run_to_its_end(write_explanations(run, dataset))


def test_images_are_prepared_as_in_training() -> None:
    classifier = make_classifier("lenet")
    classifier.prepare = "resize(16)"
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert prepared_images(classifier, images).shape == (2, 3, 16, 16)
