"""Loads saved Keras models, and refuses those that could run code of whoever wrote them."""

import builtins
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits._errors import InputError, first_line

_TRUSTED_PACKAGES = ("keras", "tf_keras", "larq", "larq_equalbits")
# Modules of theirs that hold functions of tensors; others hold such as download a file.
_OF_TENSORS = (
    *("activations", "losses", "metrics", "initializers", "regularizers", "constraints", "quantizers"),
    *("backend", "nn", "math", "activation"),
)
# TensorFlow's functions that a layer may be, by how their names begin: they compute, and touch no file.
_COMPUTING = (
    *("__operators__.", "audio.", "bitwise.", "debugging.assert_", "debugging.check_numerics", "dtypes."),
    *("experimental.numpy.", "image.", "io.decode_", "io.encode_", "io.parse_", "linalg.", "math.", "nn."),
    *("quantization.", "ragged.", "random.", "sets.", "signal.", "sparse.", "strings."),
)
_NOT_COMPUTING = (
    *("Print", "disable_", "enable_", "function", "import_graph_def", "load_", "matching_files"),
    *("numpy_function", "print", "py_func", "read_file", "reset_default_graph"),
    *("wrap_function", "write_file"),
)
_GRAPH_OPERATORS = (
    *("PyFunc", "PyFuncStateless", "EagerPyFunc", "WriteFile", "ReadFile", "MatchingFiles", "PrintV2"),
    *("DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DebugNanCount", "DebugNumericSummary"),
    *("SaveDataset", "SaveDatasetV2", "DatasetToTFRecord", "ExperimentalDatasetToTFRecord"),
    *("CreateSummaryFileWriter", "CreateSummaryDbWriter", "Save", "SaveSlices"),
)
# Layers that are any function or any operator, and what their configurations hold, whatever name the layer has.
_ANYTHING = ("Lambda", "__lambda__", "TensorFlowOpLayer", "ClassMethod", "ReloadedLayer")
_ANYTHING_HOLDS = ("function_type", "dropout_fn_type", "residual_fn_type", "node_def", "cls_symbol")
# What classes of a user's own are made from.
_BASES = (
    *(tf.Module, tf.TypeSpec, tf.keras.constraints.Constraint, tf.keras.initializers.Initializer),
    *(tf.keras.losses.Loss, tf.keras.optimizers.Optimizer, tf.keras.optimizers.legacy.Optimizer),
    *(tf.keras.optimizers.schedules.LearningRateSchedule, tf.keras.regularizers.Regularizer),
    tf.random_normal_initializer.__base__,
)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_model(path: str | os.PathLike[str], *, compile: bool = True, trust: bool = False) -> Any:
    """The Keras model that was saved as `path`: .keras, HDF5 or a SavedModel's folder, told by the bytes.

    With `trust` it is loaded even where its layers are functions or classes that could run any code: Lambda layers,
    functions, classes of modules other than Keras', Larq's and ours that nobody has registered or imported.

    Raises:
        InputError: nothing there, no model, a damaged one, or one that needs `trust`.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(f"a saved Keras model is needed, but there is no {place}.")
    try:
        if not trust:
            _check(place)
        # Keras tells HDF5 from .keras by the name; the bytes were told above.
        model = _loaded(place, compile, trust)
        if not trust and place.is_file() and not isinstance(model, tf.keras.Model):
            raise InputError(f"{place} must be a Keras 2 model, but holds a {type(model).__name__}.")
        return model
    except InputError:
        raise
    except Exception as error:
        # Keras and what it calls raise whatever they meet in a damaged file.
        raise InputError(
            f"{place} must be a Keras 2 model, but cannot be loaded: {first_line(error)}"
        ) from error


def load_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Gives `model` the weights of the .keras file `path`; nothing else of the file is looked at.

    Raises:
        InputError: not there, damaged, the weights of another model, or read from other files; names the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_weights(archive, Path(path))
        model.load_weights(path)
    except InputError:
        raise
    except Exception as error:
        # As above; Keras looks for weights by their place in the model.
        raise InputError(
            f"{os.fspath(path)} must hold the weights of {model.name}, but does not: {first_line(error)}"
        ) from error


def _loaded(place: Path, compile: bool, trust: bool) -> Any:
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    # Keras itself has no safe mode for HDF5 and SavedModels.
    with SafeModeScope(not trust):
        if place.is_file() and _is_hdf5(place):
            import h5py
            from tf_keras.src.saving.legacy import hdf5_format

            with h5py.File(place, "r") as file:
                return hdf5_format.load_model_from_hdf5(file, compile=compile)
        if place.is_file() and place.suffix != ".keras":
            raise InputError(f"{place} must be a Keras 2 model, HDF5 or one whose name ends with .keras.")
        return tf.keras.models.load_model(
            place, compile=compile, **({"safe_mode": not trust} if place.is_file() else {})
        )


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def _check(place: Path) -> None:
    for config in _configurations(place):
        for found in _dangers(config):
            raise InputError(
                f"{place} is not loaded, because it holds {found}, which could run any code of whoever wrote the "
                "file, or read your files. If you trust it, load it with trust=True (--trust)."
            )


def _configurations(place: Path) -> Iterator[Any]:
    """What a file says of its layers, optimizer and losses, without anything of it being made."""
    if place.is_dir():
        yield from _of_saved_model(place)
    elif _is_hdf5(place):
        import h5py

        with h5py.File(place, "r") as file:
            _check_links(file, place)
            for name in ("model_config", "training_config"):
                if name in file.attrs:
                    yield json.loads(file.attrs[name])
    elif zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            yield json.loads(archive.read("config.json"))
            _check_weights(archive, place)
    else:
        raise InputError(f"{place} must be a Keras 2 model: .keras, HDF5 or a SavedModel's folder.")


def _check_weights(archive: zipfile.ZipFile, place: Path) -> None:
    if "model.weights.h5" in archive.namelist():
        import h5py

        with archive.open("model.weights.h5") as weights, h5py.File(weights, "r") as file:
            _check_links(file, place)


def _check_links(group: Any, place: Path) -> None:
    """Raises InputError where HDF5 takes arrays from other files, which may be any of the user's."""
    import h5py

    for name in group:
        inside = group.get(name, getlink=True)
        held = None if isinstance(inside, h5py.ExternalLink) else group[name]
        if held is None or (isinstance(held, h5py.Dataset) and (held.external or held.is_virtual)):
            raise InputError(f"{place} is not loaded, because {name} in it is read from another file.")
        if isinstance(held, h5py.Group):
            _check_links(held, place)


def _of_saved_model(place: Path) -> Iterator[Any]:
    from tensorflow.core.protobuf import saved_model_pb2
    from tf_keras.protobuf import saved_metadata_pb2

    metadata, model = saved_metadata_pb2.SavedMetadata(), saved_model_pb2.SavedModel()
    if not (place / "saved_model.pb").is_file():
        raise InputError(f"{place} must be a run folder or a saved Keras model, but has no saved_model.pb.")
    model.ParseFromString((place / "saved_model.pb").read_bytes())
    for graph in model.meta_graphs:
        for asset in graph.asset_file_def:
            if not (place / "assets" / asset.filename).resolve().is_relative_to(place.resolve()):
                yield {"vocabulary": asset.filename}
        nodes = [*graph.graph_def.node]
        for function in graph.graph_def.library.function:
            nodes += function.node_def
        for node in nodes:
            # Saving and restoring the model itself matches and reads its own files.
            if node.op in _GRAPH_OPERATORS:
                yield {"class_name": "Lambda", "name": f"the operator {node.op}"}
        # Older SavedModels keep the layers here; Keras reads them where the file below is missing.
        for node in graph.object_graph_def.nodes:
            if node.user_object.metadata:
                yield json.loads(node.user_object.metadata)
    if (place / "keras_metadata.pb").is_file():
        metadata.ParseFromString((place / "keras_metadata.pb").read_bytes())
        for node in metadata.nodes:
            yield json.loads(node.metadata)


def _dangers(config: Any) -> Iterator[str]:
    """What of a configuration could run code that is not Keras', Larq's, ours or the user's."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            found = _danger(value)
            if found:
                yield found


def _danger(config: dict[str, Any]) -> str:
    kind, module = config.get("class_name"), config.get("module")
    inner = config.get("config")
    if kind in _ANYTHING:
        return str(config.get("name") or f"a {kind} layer")
    held = [key for key in _ANYTHING_HOLDS if key in config]
    if held:
        return f"a layer with a {held[0]}"
    if kind in ("TFOpLambda", "SlicingOpLambda") and isinstance(inner, dict):
        function = str(inner.get("function"))
        # Older names of the same, which Keras saves of tf.pad or tf.transpose.
        short = function.removeprefix("compat.v1.")
        computes = short.startswith(_COMPUTING) if "." in short else not short.startswith(_NOT_COMPUTING)
        return "" if computes else f"a layer of the function tf.{function}"
    if isinstance(config.get("vocabulary"), str):
        return f"a vocabulary to be read from the file {config['vocabulary']}"
    name = {"function": inner, "__typespec__": config.get("spec_name")}.get(str(kind), kind)
    if not isinstance(module, str) or not isinstance(name, str):
        return ""
    # Keras looks for a function by its name, for a class by its registered name, and imports the module for the rest.
    registered = name if kind == "function" else config.get("registered_name", kind)
    return "" if _is_known(module, name, registered) else f"{module}.{name}"


def _is_known(module: str, name: str, registered: Any) -> bool:
    if isinstance(registered, str) and tf.keras.utils.get_registered_object(registered) is not None:
        return True
    # What a module of theirs imported, such as os.system.
    if "." in name:
        return False
    if module.partition(".")[0] in _TRUSTED_PACKAGES:
        return name[:1].isupper() or not set(_OF_TENSORS).isdisjoint(module.split("."))
    if module == "builtins":
        return not hasattr(builtins, name) or name in ("function", "dict", "list", "set", "tuple")
    # A class of the user's own, whose module is imported.
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, _BASES)
