"""As much of TensorRT's Python API as running an engine takes, on the emulated device.

A plan is a line of Python that makes the cells of the integer network's, `found`.
"""

import enum

import numpy as np

import nucleiseg._native as native
from nucleiseg import Model
from nucleiseg.engines import native as integers

__version__ = "10.3"


class ILogger:
    Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")


class ExecutionContextAllocationStrategy(enum.Enum):
    USER_MANAGED = 2


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, plan):
        return Engine(plan.decode())


class Engine:
    def __init__(self, plan):
        self.plan = plan

    def create_execution_context(self, strategy):
        return Context(self.plan)


class Context:
    def __init__(self, plan):
        self.plan, self.network, self.addresses = plan, integers.Engine(Model.load(), 1), {}

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return True

    def update_device_memory_size_for_shapes(self):
        return 1000 * self.shape[0]

    def set_device_memory(self, address, size):
        assert size >= self.update_device_memory_size_for_shapes()

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, handle):
        count, height, width, _ = self.shape
        tiles = memory(self.addresses["tiles"], self.shape)
        cells = memory(self.addresses["cells"], (count, height // 2, width // 2, 8))

        def work():
            cells[...] = eval(self.plan, {"found": self.network.infer(tiles), "np": np})

        native.emulated.call(work, stream=native.emulated.Stream(handle))
        return True


def memory(address, shape):
    """Return memory of the emulated device, which is the host's."""

    class View:
        __array_interface__ = {  # noqa: RUF012
            "version": 3, "shape": shape, "typestr": "|u1", "data": (address, False),
        }  # fmt: skip

    return np.asarray(View())
