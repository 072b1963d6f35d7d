#!/usr/bin/env python3
"""Writes the folder torch: files of torch.save, and what is in them. Needs torch and safetensors.

    python3 make_torch_files.py [folder]        (default: beside this file)

state.bin             a module's state dictionary: every type of elements, tensors that share a storage, transposed and
                      narrowed ones, a scalar and one without elements
nested.pt             a dictionary with a state dictionary of parameters under `state_dict`, and other values
legacy.bin            the format before PyTorch 1.6
function.bin          a pickle that calls os.system
expected.safetensors  the tensors of state.bin
"""
import os
import pathlib
import sys

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = (pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE) / "torch"


class Module(torch.nn.Module):
    """Its state dictionary has versions of modules as attributes."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)  # has a number among its buffers
        whole = torch.randn(4, 6)
        self.weight = torch.nn.Parameter(torch.randn(2, 3, 2))
        for name, tensor in {
            "whole": whole, "shared": whole, "narrow": whole[1:3, 2:5], "transposed": whole.t(), "row": whole[2],
            "last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last), "every-third": whole.flatten()[1::3],
            "f16": torch.tensor([1.5, -0.25, 65504, 2.0**-24]).half(), "bf16": torch.randn(5).bfloat16(),
            "f64": torch.tensor([[0.1, -2.5]], dtype=torch.float64), "i64": torch.tensor([1, -2, 1 << 40]),
            "i32": torch.tensor([7, -8], dtype=torch.int32), "i16": torch.tensor([3, -4], dtype=torch.int16),
            "i8": torch.tensor([5, -6], dtype=torch.int8), "u8": torch.tensor([0, 255], dtype=torch.uint8),
            "flags": torch.tensor([True, False, True]), "scalar": torch.tensor(7.0), "empty": torch.zeros(0, 3),
        }.items():
            self.register_buffer(name, tensor)


class Call:
    def __reduce__(self):
        return os.system, ("true",)


if __name__ == "__main__":
    torch.manual_seed(7)
    FOLDER.mkdir(exist_ok=True)
    state = Module().state_dict()
    torch.save(state, FOLDER / "state.bin")
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()},
              FOLDER / "expected.safetensors")
    parameters = {"weight": torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)), "note": "none"}
    torch.save({"epoch": 3, "lr": 0.5, "big": 1 << 40, "best": None, "list": [1, (2, True, -3)], "state_dict": parameters},
               FOLDER / "nested.pt")
    torch.save({"weight": torch.zeros(2)}, FOLDER / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"weight": Call()}, FOLDER / "function.bin")
