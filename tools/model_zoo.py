"""Package a shipped model for bioimage.io: ``python tools/model_zoo.py [MODEL ...]``.

The package has the shipped network, whose 2 x 2 blocks are spread to the pixels of its two maps,
and as test tensors an example and what the package's own engine makes of it. It is
validated before it is ``build/bioimageio/MODEL.zip``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import yaml
from bioimageio.spec import load_description, save_bioimageio_package
from bioimageio.spec.generic.v0_3 import Author, CiteEntry
from bioimageio.spec.model import v0_5
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nucleiseg import Segmenter, data, images
from nucleiseg._native import cpu
from nucleiseg.engines import native
from nucleiseg.model import Model, shipped
from nucleiseg.outputs import overlays

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bioimageio"
EXAMPLE, SIDE = "stained", 512
"""The image of the test tensors, and their sides, beyond any model's halos."""

BLOCK = 2
MAPS = ["nucleus", "distance"]
COLOURS = ["red", "green", "blue"]
TOLERANCE = {
    "relative_tolerance": 0.01,
    "absolute_tolerance": 0.01,
    "mismatched_elements_per_million": 1000,
}
"""Tolerance of the test: a float sum between two of the 255 levels may round the other way, in each
layer."""

LICENCES = {"CC BY 4.0": "CC-BY-4.0"}


def main() -> int:
    """Write the packages; return 1 if one is not valid."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="all that ship, if left out")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR")
    options = parser.parse_args()
    for name in options.models or shipped():
        target = options.output / f"{name}.zip"
        problems = package(Model.load(name), target)
        print(problems or target)
        if problems:
            return 1
    return 0


def package(model: Model, target: Path) -> str:
    """Write the package of a model; return what is wrong with it, in which case there is none."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / target.name
        save_bioimageio_package(_description(model, Path(folder)), output_path=part)
        read = load_description(part, perform_io_checks=True)
        if read.validation_summary.status == "failed":
            return str(read.validation_summary.format())
        target.parent.mkdir(parents=True, exist_ok=True)
        images.write(target, part.read_bytes())
    return ""


def _description(model: Model, folder: Path) -> v0_5.ModelDescr:
    """Return the description of a package whose files are written into a folder."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    proto = spread(model)
    onnx.save(proto, folder / "network.onnx")
    (folder / "README.md").write_text(_documentation(model))
    (folder / f"{model.name}.json").write_bytes(model.path.with_suffix(".json").read_bytes())
    tile = _tile(model)
    np.save(folder / "input.npy", tile)
    np.save(folder / "output.npy", maps(model, tile))
    _write_cover(model, folder / "cover.png")
    sides = v0_5.ParameterizedSize(min=2 * model.halo + model.stride, step=model.stride)
    steps = [
        v0_5.ScaleRangeDescr(
            kwargs=v0_5.ScaleRangeKwargs(
                axes=["y", "x", "channel"],
                min_percentile=model.percentiles[0],
                max_percentile=model.percentiles[1],
            )
        ),
        v0_5.ClipDescr(kwargs=v0_5.ClipKwargs(min=0.0, max=1.0)),
        # Rounded to the nearest, where the conversion leaves out what is behind the point.
        v0_5.ScaleLinearDescr(kwargs=v0_5.ScaleLinearKwargs(gain=255.0, offset=0.5)),
        v0_5.EnsureDtypeDescr(kwargs=v0_5.EnsureDtypeKwargs(dtype="uint8")),
    ]
    image = v0_5.InputTensorDescr(
        id="image",
        description="RGB; grey images three times. Nuclei of "
        f"{model.good_diameters[0]:.0f} to {model.good_diameters[1]:.0f} pixels are found best",
        axes=[
            v0_5.BatchAxis(),
            *(v0_5.SpaceInputAxis(id=axis, size=sides) for axis in "yx"),
            v0_5.ChannelAxis(channel_names=COLOURS),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="uint8"),
        preprocessing=steps,
        test_tensor=v0_5.FileDescr(source=folder / "input.npy"),
    )
    result = v0_5.OutputTensorDescr(
        id="maps",
        description="Probability that a pixel is nucleus; distance to the edge of its nucleus over "
        "the largest of that nucleus",
        axes=[
            v0_5.BatchAxis(),
            *(
                v0_5.SpaceOutputAxisWithHalo(
                    id=axis,
                    halo=model.halo,
                    size=v0_5.SizeReference(tensor_id="image", axis_id=axis),
                )
                for axis in "yx"
            ),
            v0_5.ChannelAxis(channel_names=MAPS),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
        test_tensor=v0_5.FileDescr(source=folder / "output.npy"),
    )
    tolerance = v0_5.ReproducibilityTolerance(**TOLERANCE)
    return v0_5.ModelDescr(
        name=f"nucleiseg {model.name}",
        description="Cell nuclei in fluorescence, H&E and bright-field images: an int8 U-Net that "
        "gives the probability of nuclei and the distance to their edges",
        version=model.version,
        authors=[Author(name=author["name"]) for author in citation["authors"]],
        cite=[
            CiteEntry(text=reference["title"], doi=reference["doi"])
            for reference in citation["references"]
        ],
        license=LICENCES[model.licence],
        tags=["nucleus", "segmentation", "fluorescence", "histology", "unet", "2d"],
        documentation=v0_5.FileDescr(source=folder / "README.md"),
        covers=[v0_5.FileDescr(source=folder / "cover.png")],
        attachments=[v0_5.FileDescr(source=folder / f"{model.name}.json")],
        inputs=[image],
        outputs=[result],
        weights=v0_5.WeightsDescr(
            onnx=v0_5.OnnxWeightsDescr(
                source=folder / "network.onnx", opset_version=proto.opset_import[0].version
            )
        ),
        config=v0_5.Config(bioimageio=v0_5.BioimageioConfig(reproducibility_tolerance=[tolerance])),
    )


def spread(model: Model) -> onnx.ModelProto:
    """Return the shipped network with outputs of (N, H, W, 2) float32, 0 to 1.

    Its levels are floats that are rounded explicitly, and its weights floats of the same values:
    ONNX Runtime fuses int8 layers and then rounds otherwise, not alike on all processors.
    """
    proto = onnx.load(str(model.path))
    graph = proto.graph
    _widen(graph)
    blocks = graph.output.pop().name
    graph.node.extend(
        [
            helper.make_node("Transpose", [blocks], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["planes"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("DepthToSpace", ["levels"], ["pixels"], blocksize=BLOCK, mode="DCR"),
            helper.make_node("Transpose", ["pixels"], ["bytes"], perm=[0, 2, 3, 1]),
            helper.make_node("Div", ["bytes", "largest"], ["maps"]),
        ]
    )
    graph.initializer.append(helper.make_tensor("largest", TensorProto.FLOAT, [], [255.0]))
    shape = ["batch", "height", "width", len(MAPS)]
    graph.output.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, shape))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _widen(graph: onnx.GraphProto) -> None:
    """Replace QuantizeLinear and DequantizeLinear by operators on floats with the same results."""
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            graph.initializer.append(
                numpy_helper.from_array(_weights(node, constants), node.output[0])
            )
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            nodes += _on_floats(node, constants, graph)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    for one in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(one)


def _weights(
    node: onnx.NodeProto, constants: dict[str, NDArray[np.generic]]
) -> NDArray[np.float32]:
    values, scale, zero = (constants[name].astype(np.float32) for name in node.input)
    return (values - zero) * scale


def _on_floats(
    node: onnx.NodeProto, constants: dict[str, NDArray[np.generic]], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """Return the operators of a rounding to levels, or of its undoing."""
    (source, scale, zero), (result,) = node.input, node.output
    levels = np.iinfo(constants[zero].dtype)
    names = [f"{result}_{part}" for part in ("zero", "least", "most", "0", "1", "2")]
    numbers = (constants[zero], levels.min, levels.max)
    for name, number in zip(names, numbers, strict=False):
        graph.initializer.append(numpy_helper.from_array(np.float32(number), name))
    zero, least, most, *steps = names
    if node.op_type == "DequantizeLinear":
        return [
            helper.make_node("Sub", [source, zero], steps[:1]),
            helper.make_node("Mul", [steps[0], scale], [result]),
        ]
    return [
        helper.make_node("Div", [source, scale], steps[:1]),
        helper.make_node("Round", steps[:1], steps[1:2]),
        helper.make_node("Add", [steps[1], zero], steps[2:]),
        helper.make_node("Clip", [steps[2], least, most], [result]),
    ]


def maps(model: Model, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the maps of a tile, (1, H, W, 2), by the package's own engine."""
    cells = native.Engine(model, 1).infer(tile)
    _, rows, columns, _ = cells.shape
    blocks = cells.reshape(1, rows, columns, BLOCK, BLOCK, len(MAPS)).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(1, *tile.shape[1:3], len(MAPS)).astype(np.float32) / np.float32(255)


def _tile(model: Model) -> NDArray[np.uint8]:
    """Return an example as the network sees it; the steps before the network leave it as it is."""
    image = data.example(EXAMPLE, (SIDE, SIDE))
    low, high, *_ = cpu.limits(image, *model.percentiles)
    return cpu.normalize(image, low, high)[None]


def _write_cover(model: Model, path: Path) -> None:
    """Draw the example beside its outlined nuclei, twice as wide as it is high."""
    image = data.example(EXAMPLE)
    side = min(image.shape[:2])
    result = Segmenter(model.name, device="cpu").analyze(image)
    pair = image[:side, :side], overlays.draw(image, result.labels)[:side, :side]
    images.write_png(path, np.ascontiguousarray(np.hstack(pair)))


def _documentation(model: Model) -> str:
    sources = "\n".join(f"- {source}" for source in model.data)
    return f"""# nucleiseg {model.name} {model.version}

An int8 U-Net that sees {model.halo} pixels to each side. It gives two maps: the probability that a
pixel is nucleus, and the distance to the edge of its nucleus over that nucleus's largest.

The Python package nucleiseg makes labels of these maps with a watershed from the maxima of the
smoothed distance, finds the scale of the image, and has limits of intensity that are robust against
empty fields and outliers; the percentiles here do without. The settings of its watershed are in
`{model.name}.json`. The network is the one that the package ships, SHA-256 `{model.checksum}`, with
weights as float32 of the same values, and each 2 x 2 block spread to its pixels.

## Learned from

{sources}

## Validation

The test tensors are what the package's own integer engine gives. ONNX Runtime sums floats in an
order of its own, so values between two of the 255 levels may round the other way.
"""


if __name__ == "__main__":
    sys.exit(main())
