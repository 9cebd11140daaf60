"""Manifests of exported folders whose graphs a test made itself."""

from diffsda.export.manifest import Exported, Manifest, Port, sha256
from diffsda.presets import preset


def describe(folder, graphs, *, precision="float32", frames=10):
    """Write export.json for graphs {name: (inputs, outputs)}, each {name of an array: its axes}."""
    recipe = preset("tiny_video").replace(clips={"frames": frames})
    held = {}
    for name, ways in graphs.items():
        files = sorted(folder.glob(f"{name}.onnx*"))
        inputs, outputs = (tuple(Port(n, tuple(axes), "float32") for n, axes in way.items()) for way in ways)
        held[name] = Exported(
            files={file.name: sha256(file) for file in files},
            bytes=sum(file.stat().st_size for file in files),
            inputs=inputs,
            outputs=outputs,
            operations={},
            error=0.0,
            bound=1.0,
            measure="of nothing",
            measured="by nobody",
        )
    Manifest(recipe=recipe, precision=precision, opset=21, graphs=held).write(folder)
