import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from test_data_formats import Digits

from larq_equalbits import data
from larq_equalbits._errors import InputError
from larq_equalbits.data import augmentation, tfds_folder

BESIDE = (folder / "shared" / "data" / "tfds" for folder in Path(__file__).resolve().parents)
REAL = Path(os.environ.get("LARQ_EQUALBITS_DATA") or next(filter(Path.is_dir, BESIDE), "tfds"))
needs_cifar10 = pytest.mark.skipif(
    not (REAL / "cifar10").is_dir(), reason="no prepared cifar10: set LARQ_EQUALBITS_DATA to its folder"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits")
    Digits(data_dir=path).download_and_prepare()
    return path


def gather(dataset):
    batches = list(dataset.as_numpy_iterator())
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def test_digits_are_split_the_same_way_always():
    loaded = data.load("digits")
    assert (loaded.num_train, loaded.num_validation, loaded.num_test) == (1299, 143, 355)
    assert loaded.input_shape == (8, 8, 1)
    images, labels = gather(loaded.test)
    assert images.shape == (355, 8, 8, 1)
    assert images.dtype == np.float32
    assert labels.dtype == np.int32
    assert np.bincount(labels).tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    again = gather(data.load("digits", seed=5).test)
    np.testing.assert_array_equal(images, again[0])


def test_no_image_is_in_two_splits():
    loaded = data.load("digits", batch_size=1)
    parts = [gather(part)[0] for part in (loaded.train, loaded.validation, loaded.test)]
    assert sum(map(len, parts)) == 1797
    assert len({image.tobytes() for part in parts for image in part}) == 1797


def test_an_epoch_depends_on_seed_and_number_alone():
    loaded = data.load("digits", augment="crop_flip")
    steps = loaded.steps_per_epoch
    unbroken = gather(loaded.epochs(0).take(3 * steps))
    resumed = gather(data.load("digits", augment="crop_flip").epochs(2).take(steps))
    for whole, part in zip(unbroken, resumed, strict=True):
        np.testing.assert_array_equal(whole[2 * len(part) :], part)
    assert not np.array_equal(unbroken[1][: len(resumed[1])], resumed[1])
    other = gather(data.load("digits", seed=1).epochs(2).take(steps))
    assert not np.array_equal(other[1], resumed[1])


def test_no_pass_waits_at_its_end_for_the_thread_of_an_autotuner():
    loaded = data.load("digits")
    parts = (loaded.train, loaded.epochs(0), loaded.validation, loaded.test)
    assert [part.options().autotune.enabled for part in parts] == [False] * 4


def test_every_pass_over_train_is_shuffled_made_again():
    train = data.load("digits").train
    first, second = gather(train), gather(train)
    assert len(first[1]) == 1299 // 128 * 128
    assert not np.array_equal(first[1], second[1])


def test_validation_holds_out_the_same_share_of_each_class():
    loaded = data.load("digits", validation_fraction=0.25)
    counts = np.bincount(gather(loaded.validation)[1])
    assert counts.min() >= 34
    assert counts.max() <= 37
    assert data.load("digits", validation_fraction=0).validation is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "mnist"}, "dataset must be one of digits, cifar10, cifar100, imagenet2012"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1300}, "1299 training images"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"augment": "mixup"}, "augment must be one of none, crop, crop_flip for digits"),
        ({"augment": "resized_crop"}, "augment"),
        ({"validation_fraction": 1}, "validation_fraction"),
        *(({"train_images": count}, "train_images") for count in (0, -1, 10**6, 1.5, True)),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        data.load(**{"name": "digits", **arguments})


def test_crop_and_flip_only_moves_pixels():
    images = tf.reshape(tf.range(1, 1 + 64 * 6 * 5, dtype=tf.int32), [64, 6, 5, 1])
    seed = augmentation.seed_pair(3, 4)
    changed = augmentation.crop_and_flip(images, seed, padding=2)
    np.testing.assert_array_equal(changed, augmentation.crop_and_flip(images, seed, padding=2))
    flipped = 0
    for original, moved in zip(images.numpy()[..., 0], changed.numpy()[..., 0], strict=True):
        padded = np.pad(original, 2)
        crops = {
            view[y : y + 6, x : x + 5].tobytes(): mirrored
            for mirrored, view in ((False, padded), (True, padded[:, ::-1]))
            for y in range(5)
            for x in range(5)
        }
        flipped += crops[np.ascontiguousarray(moved).tobytes()]
    assert 16 < flipped < 48


def test_normalize_matches_its_formula():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])
    np.testing.assert_allclose(
        augmentation.normalize(images, mean, std), (images / 255 - mean) / std, rtol=1e-5, atol=1e-6
    )


@needs_cifar10
def test_cifar10_is_read_whole():
    loaded = data.load("cifar10", data_dir=REAL)
    assert (loaded.num_train, loaded.num_validation, loaded.num_test) == (45_000, 5_000, 10_000)
    images, labels = gather(loaded.test)
    assert images.shape == (10_000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [1000] * 10
    assert np.bincount(gather(loaded.validation)[1]).tolist() == [500] * 10
    assert loaded.labels[0] == "airplane"


def test_a_folder_without_the_data_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data_dir must hold cifar10 .*--download"):
        data.load("cifar10", data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "cifar10" / "incomplete.AB_3.0.2").mkdir(parents=True)
    with pytest.raises(InputError, match=r"unfinished incomplete\.AB_3\.0\.2"):
        data.load("cifar10", data_dir=tmp_path)


@needs_cifar10
@pytest.mark.parametrize("damage", ["truncated", "missing", "scrambled", "description"])
def test_a_damaged_folder_is_refused(tmp_path, damage):
    shutil.copytree(REAL / "cifar10", tmp_path / "cifar10")
    shard = next(tmp_path.rglob("cifar10-train.tfrecord*"))
    if damage == "missing":
        shard.unlink()
    elif damage == "truncated":
        os.truncate(shard, 100_000)
    elif damage == "scrambled":
        with shard.open("r+b") as file:
            file.seek(5_000)
            file.write(bytes(200))
    else:
        next(tmp_path.rglob("dataset_info.json")).write_text("{")
    words = r"data_dir must hold .*cifar10.* prepare the data set again"
    with pytest.raises(InputError, match=words) as caught:
        data.load("cifar10", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [None, 12])
def test_images_are_decoded_once_while_their_files_are_the_same(folder, tmp_path, size):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    builder = Digits(data_dir=tmp_path)
    first = tfds_folder.read_all(builder, "test", size)
    assert tfds_folder.read_all(Digits(data_dir=tmp_path), "test", size) is first
    assert first.images.shape[1:] == (size or 8, size or 8, 1)
    assert tfds_folder.read_all(builder, "test", 16) is not first
    with pytest.raises(ValueError, match="read-only"):
        first.images[0] = 0
    # Other data sets take its place; files that were written again are read again.
    for split in ("train", "test"):
        tfds_folder.read_all(Digits(data_dir=folder), split, size)
    images = tfds_folder.read_all(builder, "test", size).images
    assert images is not first.images
    shard = next(tmp_path.rglob("digits-test.tfrecord*"))
    shard.write_bytes(shard.read_bytes())
    again = tfds_folder.read_all(builder, "test", size).images
    assert again is not images
    np.testing.assert_array_equal(again, images)


def test_train_images_limits_the_training_set_alone():
    some = data.load("digits", train_images=200)
    assert (some.num_train, some.num_validation, some.num_test) == (200, 143, 355)
