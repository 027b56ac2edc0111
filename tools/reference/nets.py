#!/usr/bin/env python3
"""Makes tests/golden/nets.json: what PyTorch computes for every network of ours.

Weights are not committed. Both sides make them from one formula of (parameter name, index), `values` below and
`formula` in tests/parity_nets.rs; so is the input. PyTorch computes in float64, so the goldens are the truth and
all of the difference measured is ours.

    python tools/reference/nets.py [path of the shared data]     (the real weights are skipped without it)

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2, pytorch-fid 0.3.0 (--no-deps), numpy 2.4.6, onnxruntime 1.32.0, safetensors 0.8.0.
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
import torch
import torchvision.models as tv
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent.parent / "tests" / "golden" / "nets.json"


def values(name: str, count: int) -> np.ndarray:
    """`count` multiples of 2^-23 in [-1, 1): splitmix64 of (FNV-1a of the name) + index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def parameter(name: str, shape: tuple, gain: float) -> torch.Tensor:
    u = values(name, int(np.prod(shape)))
    last = name.rsplit(".", 1)[-1]
    if len(shape) > 1:
        fan_in = int(np.prod(shape[1:]))
        u = u * np.float32(np.sqrt(6.0 / fan_in))
    elif last == "running_var":
        u = np.float32(1) + np.float32(0.5) * u
    elif last == "weight":
        u = np.float32(gain) + np.float32(0.25) * u
    else:
        u = np.float32(0.125) * u
    return torch.from_numpy(u.reshape(shape)).double()


def gain(config) -> float:
    """The norms' mean weight: so that the logits neither vanish nor explode without statistics of a training.

    PyTorch in float32 is the measure: at 1.125 its MobileNets, too, are 2e-4 off their float64 selves.
    """
    return 0.9375 if config["name"].startswith("mobilenet") else 0.75


def fill(model: nn.Module, config) -> nn.Module:
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: parameter(k, tuple(v.shape), gain(config)) for k, v in state.items()}, strict=False)
    return model.double()


def picture(batch, channels, height, width, scale=1.0):
    shape = (batch, channels, height, width)
    return torch.from_numpy(values("input", int(np.prod(shape))).reshape(shape)).double() * scale


class SimpleCnn(nn.Module):
    """The Keras tutorial's network, with PyTorch's channel order for the flattened maps."""

    def __init__(self, channels, classes, flattened):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 128, 3)
        self.dense1 = nn.Linear(flattened, 128)
        self.dense2 = nn.Linear(128, classes)

    def maps(self, x):
        first = F.relu(self.conv1(x))
        second = F.relu(self.conv2(F.max_pool2d(first, 2)))
        return [first, second, F.relu(self.conv3(F.max_pool2d(second, 2)))]

    def forward(self, x):
        x = F.max_pool2d(self.maps(x)[-1], 2).flatten(1)
        return self.dense2(F.relu(self.dense1(x)))


class SmallBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class SmallCnn(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        widths = [channels, 16, 32, 32, 64, 64, 128]
        self.blocks = nn.ModuleList(SmallBlock(i, o) for i, o in zip(widths, widths[1:]))
        self.fc = nn.Linear(128, classes)

    def maps(self, x):
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 2 == 0:
                maps.append(x)
                x = F.max_pool2d(x, 2)
        return maps + [x]

    def forward(self, x):
        return self.fc(self.maps(x)[-1].mean((2, 3)))


class CifarBlock(nn.Module):
    """github.com/akamaster/pytorch_resnet_cifar10, BasicBlock with option A."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pad = outputs // 4 if inputs != outputs else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad is not None:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad), "constant", 0)
        return F.relu(y + x)


class CifarResnet(nn.Module):
    def __init__(self, channels, classes, blocks):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        stage = lambda i, o: nn.Sequential(*[CifarBlock(i if b == 0 else o, o, 2 if b == 0 and i != o else 1) for b in range(blocks)])
        self.layer1, self.layer2, self.layer3 = stage(16, 16), stage(16, 32), stage(32, 64)
        self.linear = nn.Linear(64, classes)

    def maps(self, x):
        first = self.layer1(F.relu(self.bn1(self.conv1(x))))
        second = self.layer2(first)
        return [first, second, self.layer3(second)]

    def forward(self, x):
        return self.linear(self.maps(x)[-1].mean((2, 3)))


def resnet_maps(model, x):
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    maps = []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
        maps.append(x)
    return maps


def maps_before(model, x, boundary, last):
    maps = []
    for index, layer in enumerate(model.features):
        if boundary(index, layer):
            maps.append(x)
        x = layer(x)
    return maps + [x] if last else maps


def pool_maps(model, x, last):
    return maps_before(model, x, lambda _, layer: isinstance(layer, nn.MaxPool2d), last)


def mobilenet_maps(model, x):
    def halves(index, layer):
        convs = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
        return index > 0 and any(conv.stride[0] == 2 for conv in convs)

    return maps_before(model, x, halves, True)


def inception():
    """Without the auxiliary classifier, which plays no part in prediction."""
    return tv.inception_v3(num_classes=10, aux_logits=False, init_weights=False)


def fid_inception():
    """`fid_inception_v3` of pytorch-fid 0.3.0 without its download."""
    from pytorch_fid.inception import FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2

    model = inception()
    model.Mixed_5b = FIDInceptionA(192, pool_features=32)
    model.Mixed_5c = FIDInceptionA(256, pool_features=64)
    model.Mixed_5d = FIDInceptionA(288, pool_features=64)
    model.Mixed_6b = FIDInceptionC(768, channels_7x7=128)
    model.Mixed_6c = FIDInceptionC(768, channels_7x7=160)
    model.Mixed_6d = FIDInceptionC(768, channels_7x7=160)
    model.Mixed_6e = FIDInceptionC(768, channels_7x7=192)
    model.Mixed_7b = FIDInceptionE_1(1280)
    model.Mixed_7c = FIDInceptionE_2(2048)
    return model


def inception_maps(model, x):
    maps = []
    for name, layer in model.named_children():
        if name in ("maxpool1", "maxpool2", "Mixed_6a", "Mixed_7a", "avgpool"):
            maps.append(x)
        if name == "avgpool":
            return maps
        x = layer(x)


def small_stem(model, channels):
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def simple_flattened(height, width):
    for _ in range(3):
        height, width = (height - 2) // 2, (width - 2) // 2
    return 128 * height * width


def nets():
    """(configuration as in a card, model, its feature maps)"""

    def config(name, height, width, channels=3, classes=10, **more):
        return {"name": name, "classes": classes, "in_channels": channels, "input": {"width": width, "height": height}} | more

    yield config("simple-cnn", 28, 36, channels=1), SimpleCnn(1, 10, simple_flattened(28, 36)), SimpleCnn.maps
    yield config("small-cnn", 28, 36, channels=1), SmallCnn(1, 10), SmallCnn.maps
    for name in ("resnet18", "resnet34", "resnet50", "resnet101"):
        yield config(name, 48, 64), getattr(tv, name)(num_classes=10), resnet_maps
    small = small_stem(tv.resnet18(num_classes=10), 1)
    yield config("resnet18", 20, 28, channels=1, stem="small"), small, resnet_maps
    yield config("resnet20", 28, 32), CifarResnet(3, 10, 3), CifarResnet.maps
    yield config("resnet56", 28, 32), CifarResnet(3, 10, 9), CifarResnet.maps
    yield config("vgg16", 32, 64), tv.vgg16(num_classes=10, init_weights=False), lambda m, x: pool_maps(m, x, False)
    yield config("vgg16_bn", 64, 32), tv.vgg16_bn(num_classes=10, init_weights=False), lambda m, x: pool_maps(m, x, False)
    for height, width in ((45, 64), (54, 71)):
        # Sizes for which PyTorch's ceil mode keeps, and drops, the last window of the pools.
        yield config("squeezenet1_0", height, width), tv.squeezenet1_0(num_classes=10), lambda m, x: pool_maps(m, x, True)
    yield config("mobilenet_v3_small", 48, 64), tv.mobilenet_v3_small(num_classes=10), mobilenet_maps
    yield config("mobilenet_v3_large", 48, 64), tv.mobilenet_v3_large(num_classes=10), mobilenet_maps
    yield config("inception_v3", 75, 91), inception(), inception_maps
    yield config("inception_v3", 91, 75, fid_pools=True), fid_inception(), inception_maps


def digest(model):
    lines = [f"{k} {list(v.shape)}\n" for k, v in sorted(model.state_dict().items()) if not k.endswith("num_batches_tracked")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def numbers(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().flatten().tolist()]


def statistics(tensor):
    flat = tensor.flatten()
    return numbers(torch.stack([flat.mean(), flat.std(correction=0), flat[0], flat[len(flat) // 3], flat[-1]]))


def evaluate(config, model, maps):
    print(config["name"], flush=True)
    fill(model, config).eval()
    size = config["input"]
    x = picture(2, config["in_channels"], size["height"], size["width"])
    with torch.no_grad():
        return {
            "config": config,
            "norm_gain": gain(config),
            "parameters": sum(p.numel() for p in model.parameters()),
            "names": digest(model),
            "logits": numbers(model(x)),
            "features": [{"shape": list(m.shape), "statistics": statistics(m)} for m in maps(model, x)],
        }


def train(config, model, probes, buffers):
    """One training step's forward and gradients: dropout off, labels 3, 7, 0, 1."""
    fill(model, config).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    size = config["input"]
    x = picture(4, config["in_channels"], size["height"], size["width"])
    logits = model(x)
    loss = F.cross_entropy(logits, torch.tensor([3, 7, 0, 1]))
    loss.backward()
    gradients = dict(model.named_parameters())
    state = model.state_dict()
    return {
        "config": config | {"dropout": 0.0},
        "norm_gain": gain(config),
        "logits": numbers(logits),
        "loss": float(loss.detach()),
        "gradients": {name: statistics(gradients[name].grad) for name in probes},
        "buffers": {name: statistics(state[name]) for name in buffers},
    }


def trained():
    def config(name, height, width, channels=3):
        return {"name": name, "classes": 10, "in_channels": channels, "input": {"width": width, "height": height}}

    yield train(config("simple-cnn", 30, 28), SimpleCnn(3, 10, simple_flattened(30, 28)),
                ["conv1.weight", "conv2.bias", "conv3.weight", "dense1.weight", "dense2.weight", "dense2.bias"], [])
    yield train(config("small-cnn", 28, 28, 1), SmallCnn(1, 10),
                ["blocks.0.conv.weight", "blocks.2.bn.weight", "blocks.5.conv.weight", "fc.weight"],
                ["blocks.0.bn.running_mean", "blocks.5.bn.running_var"])
    yield train(config("resnet18", 64, 64), tv.resnet18(num_classes=10),
                ["conv1.weight", "bn1.weight", "bn1.bias", "layer2.0.downsample.0.weight", "layer3.1.conv1.weight", "layer4.1.bn2.weight", "fc.weight", "fc.bias"],
                ["bn1.running_mean", "bn1.running_var", "layer4.1.bn2.running_mean", "layer4.1.bn2.running_var"])
    yield train(config("resnet20", 32, 32), CifarResnet(3, 10, 3),
                ["conv1.weight", "layer2.0.conv1.weight", "layer3.0.bn2.weight", "linear.weight"], ["layer3.2.bn2.running_var"])
    yield train(config("squeezenet1_0", 54, 71), tv.squeezenet1_0(num_classes=10),
                ["features.0.weight", "features.5.expand3x3.weight", "features.12.squeeze.bias", "classifier.1.weight"], [])
    yield train(config("mobilenet_v3_small", 64, 64), tv.mobilenet_v3_small(num_classes=10),
                ["features.0.0.weight", "features.1.block.0.0.weight", "features.1.block.1.fc1.weight", "features.4.block.1.0.weight", "features.12.1.bias", "classifier.3.weight"],
                ["features.0.1.running_mean", "features.12.1.running_var"])


class CaffeSqueezenet(nn.Module):
    """The authors' network as SqueezeNet_deploy.prototxt draws it."""

    def __init__(self, tensors):
        super().__init__()
        self.tensors = {k: torch.from_numpy(v).double() for k, v in tensors.items()}

    def conv(self, x, name, **options):
        return F.relu(F.conv2d(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], **options))

    def forward(self, x):
        pool = lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = pool(self.conv(x, "conv1", stride=2))
        for index in range(2, 10):
            x = self.conv(x, f"fire{index}/conv1x1_1")
            x = torch.cat([self.conv(x, f"fire{index}/conv1x1_2"), self.conv(x, f"fire{index}/conv3x3_2", padding=1)], 1)
            if index in (4, 8):
                x = pool(x)
        return self.conv(x, "conv_final", padding=1).mean((2, 3))


def real(data: pathlib.Path):
    """Published weights: ResNet-20 by the ONNX file beside it, SqueezeNet by its prototxt."""
    import onnxruntime
    from safetensors.numpy import load_file

    weights = data / "weights"
    session = onnxruntime.InferenceSession(str(weights / "resnet_cifar10" / "resnet20_cifar10.onnx"))
    source = session.get_inputs()[0]
    rows = [session.run(None, {source.name: x[None].float().numpy()})[0] for x in picture(2, 3, 32, 32)]
    yield {"file": "weights/resnet_cifar10/pretrained_models/resnet20-12fca82f.th", "name": "resnet20", "input": {"width": 32, "height": 32},
           "scale": 1.0, "by": "onnxruntime, resnet20_cifar10.onnx", "logits": numbers(torch.from_numpy(np.concatenate(rows)))}
    path = weights / "resnet_cifar10" / "pretrained_models" / "resnet56-4bfd9763.th"
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = CifarResnet(3, 10, 9)
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    with torch.no_grad():
        yield {"file": "weights/resnet_cifar10/pretrained_models/resnet56-4bfd9763.th", "name": "resnet56", "input": {"width": 32, "height": 32},
               "scale": 1.0, "by": "torch, float64", "logits": numbers(model.double().eval()(picture(2, 3, 32, 32)))}
        model = CaffeSqueezenet(load_file(weights / "squeezenet1.0" / "squeezenet1.0.safetensors"))
        yield {"file": "weights/squeezenet1.0/squeezenet1.0.safetensors", "name": "squeezenet1_0", "input": {"width": 227, "height": 227},
               "scale": 100.0, "by": "torch, float64, as SqueezeNet_deploy.prototxt", "logits": numbers(model(picture(1, 3, 227, 227, 100.0)))}


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None
    golden = {"evaluated": [evaluate(*net) for net in nets()], "trained": list(trained()), "real": list(real(data)) if data else []}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for key, rows in golden.items()]
    OUT.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
