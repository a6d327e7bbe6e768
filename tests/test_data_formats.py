"""CIFAR-100 and ImageNet, which are too large to carry: small sets of the same format, written by tfds itself."""

import json
import os
import shutil

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from larq_equalbits import data, training
from larq_equalbits._errors import InputError
from larq_equalbits.data import tfds_folder


class Cifar100(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("3.0.2")
    SPLITS = (("train", 400), ("test", 50))
    CLASSES = 100

    def _info(self):
        features = tfds.features.FeaturesDict(
            {"image": self.image(), "label": tfds.features.ClassLabel(num_classes=self.CLASSES)}
        )
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def image(self):
        return tfds.features.Image(shape=(32, 32, 3))

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name, count) for name, count in self.SPLITS}

    def size(self, generator):
        return 32, 32

    def _generate_examples(self, split, count):
        generator = np.random.default_rng(count)
        for index in range(count):
            image = generator.integers(0, 256, (*self.size(generator), 3), dtype=np.uint8)
            yield f"{split}{index}", {"image": image, "label": index % self.CLASSES}


class Imagenet2012(Cifar100, skip_registration=True):
    VERSION = tfds.core.Version("5.1.0")
    SPLITS = (("train", 40), ("validation", 10))
    CLASSES = 1000

    def image(self):
        return tfds.features.Image(encoding_format="jpeg")

    def size(self, generator):
        return int(generator.integers(200, 400)), int(generator.integers(200, 400))


class Digits(Cifar100, skip_registration=True):
    CLASSES = 10

    def image(self):
        return tfds.features.Image(shape=(8, 8, 1))

    def _split_generators(self, dl_manager):
        known = load_digits()
        earlier = np.array([np.sum(known.target[:i] == label) for i, label in enumerate(known.target)])
        tested = earlier % 5 == 4
        parts = {"train": ~tested, "test": tested}
        return {
            name: self._generate_examples(known.images[part], known.target[part])
            for name, part in parts.items()
        }

    def _generate_examples(self, images, labels):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            pixels = np.round(image[..., None] * 255 / 16).astype(np.uint8)
            yield index, {"image": pixels, "label": int(label)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    for builder in (Cifar100, Imagenet2012):
        builder(data_dir=path).download_and_prepare()
    return path


def test_cifar100_has_a_hundred_classes_and_cifars_augmentation(folder):
    images = data.load("cifar100", data_dir=folder, batch_size=32)
    assert (images.input_shape, images.num_classes, len(images.labels)) == ((32, 32, 3), 100, 100)
    assert (images.num_train + images.num_validation, images.num_test) == (400, 50)
    batch, labels = next(iter(images.train))
    assert batch.shape == (32, 32, 32, 3)
    assert batch.dtype == tf.float32
    assert labels.dtype == tf.int32
    assert sum(len(labels) for _, labels in images.test) == 50


def test_of_several_versions_the_newest_is_read(folder, tmp_path):
    for version in ("3.0.10", "3.0.2", "3.0.9"):
        target = tmp_path / "cifar100" / version
        shutil.copytree(folder / "cifar100" / "3.0.2", target)
        info = json.loads((target / "dataset_info.json").read_text())
        (target / "dataset_info.json").write_text(json.dumps({**info, "version": version}))
    assert str(tfds_folder.open_builder("cifar100", tmp_path, download=False).version) == "3.0.10"


def test_mock_data_of_the_real_cifar100_goes_through_the_pipeline(tmp_path):
    with tfds.testing.mock_data(num_examples=64):
        images = data.load("cifar100", data_dir=tmp_path, download=True, batch_size=16)
    assert (images.input_shape, images.num_classes) == ((32, 32, 3), 100)
    assert (images.num_train, images.num_validation, images.num_test) == (64, 0, 64)
    batch, labels = next(iter(images.train))
    assert batch.shape == (16, 32, 32, 3)
    assert labels.shape == (16,)


def test_imagenets_archives_are_asked_for(tmp_path):
    words = r"put ILSVRC2012_img_train\.tar and ILSVRC2012_img_val\.tar into '.*/downloads/manual'"
    with pytest.raises(InputError, match=words):
        data.load("imagenet2012", data_dir=tmp_path, download=True)
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    with pytest.raises(InputError, match=words):
        data.load("imagenet2012", data_dir=tmp_path, download=True)
    (manual / "ILSVRC2012_img_train.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"put ILSVRC2012_img_val\.tar into"):
        data.load("imagenet2012", data_dir=tmp_path, download=True)
    (manual / "ILSVRC2012_img_val.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"imagenet2012 could not be prepared in .*: empty file"):
        data.load("imagenet2012", data_dir=tmp_path, download=True)


def test_imagenet_is_streamed_cropped_and_repeatable(folder):
    def first_batch(epoch):
        images = data.load("imagenet2012", data_dir=folder, batch_size=8, seed=3)
        return images, next(iter(images.epochs(epoch)))

    images, (batch, labels) = first_batch(0)
    assert (images.input_shape, images.num_classes) == ((224, 224, 3), 1000)
    assert (images.num_train, images.num_validation, images.num_test) == (36, 4, 10)
    assert batch.shape == (8, 224, 224, 3)
    _, (again, again_labels) = first_batch(0)
    np.testing.assert_array_equal(batch, again)
    np.testing.assert_array_equal(labels, again_labels)
    _, (later, _) = first_batch(1)
    assert np.any(later != batch)
    for split, count in ((images.validation, 4), (images.test, 10)):
        shapes = [(len(batch), batch.shape[1:]) for batch, _ in split]
        assert sum(size for size, _ in shapes) == count
        assert {tuple(shape) for _, shape in shapes} == {(224, 224, 3)}


def test_imagenet_takes_a_limited_number_of_training_images(folder):
    images = data.load("imagenet2012", data_dir=folder, batch_size=4, train_images=12)
    assert (images.num_train, images.num_validation) == (12, 4)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_file_that_proves_damaged_in_training_is_named(folder, tmp_path, split):
    def build(*, input_shape, num_classes, quantizer, binarize_activations):
        image = tf.keras.Input(input_shape)
        x = tf.keras.layers.GlobalAveragePooling2D()(image)
        classifier = lq.layers.QuantDense(num_classes, kernel_quantizer=quantizer)
        return tf.keras.Model(image, classifier(x))

    shutil.copytree(folder / "imagenet2012", tmp_path / "data" / "imagenet2012")
    shard = next((tmp_path / "data").rglob(f"imagenet2012-{split}.tfrecord*"))
    os.truncate(shard, shard.stat().st_size * 3 // 4)
    settings = training.Settings(
        dataset="imagenet2012",
        data_dir=tmp_path / "data",
        batch_size=4,
        epochs=1,
        augment="none",
        quantizer="ste_sign",
        deterministic=False,
    )
    with pytest.raises(InputError, match=r"data_dir must hold an intact imagenet2012.*and resume") as caught:
        training.train(settings, tmp_path / "run", build=build, verbose=0)
    assert "\n" not in str(caught.value)
    # The training images were read to the end where only the test images are damaged.
    assert (tmp_path / "run" / "model.keras").exists() == (split == "validation")
