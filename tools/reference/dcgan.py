#!/usr/bin/env python3
"""Makes tests/golden/dcgan.json: what PyTorch computes for DCGAN's two networks, and for steps of training them.

The networks are those of PyTorch's example (github.com/pytorch/examples, dcgan/main.py), for other sizes deepened
and thinned by the rule of its predecessor: the channels double with each halving of the side down to 4. The
discriminator's sigmoid is left to the loss. Weights and inputs come from the formula of nets.py, in float64.

    python tools/reference/dcgan.py

Made with Python 3.11, torch 2.15.0, numpy 2.4.6.
"""
import hashlib
import json
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nets import parameter, values

OUT = pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "golden" / "dcgan.json"
GAIN = 0.75
BATCH = 4
STEPS = 2


class Generator(nn.Module):
    def __init__(self, size, channels, latent, width):
        super().__init__()
        wide, side = width // 2, 4
        while side != size:
            wide, side = wide * 2, side * 2
        layers = [nn.ConvTranspose2d(latent, wide, 4, 1, 0, bias=False), nn.BatchNorm2d(wide), nn.ReLU(True)]
        side = 4
        while side < size // 2:
            layers += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(wide // 2), nn.ReLU(True)]
            wide, side = wide // 2, side * 2
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(wide, channels, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z):
        return self.main(z[:, :, None, None])


class Discriminator(nn.Module):
    def __init__(self, size, channels, width):
        super().__init__()
        layers = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        side = size // 2
        while side > 4:
            layers += [nn.Conv2d(width, width * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width * 2), nn.LeakyReLU(0.2, inplace=True)]
            width, side = width * 2, side // 2
        self.main = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 0, bias=False))

    def forward(self, x):
        return self.main(x).view(-1)


def state(module):
    return {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}


def fill(module):
    module.load_state_dict({k: parameter(k, tuple(v.shape), GAIN) for k, v in state(module).items()}, strict=False)
    return module.double()


def inputs(name, *shape):
    return torch.from_numpy(values(name, int(np.prod(shape))).reshape(shape)).double()


def statistics(tensor):
    v = tensor.detach().flatten()
    return [v.mean().item(), v.std(unbiased=False).item(), *(v[i].item() for i in (0, len(v) // 3, -1))]


def digest(module):
    rows = (f"{k} {list(v.shape)}\n" for k, v in sorted(state(module).items()))
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def gradients(module):
    return {k: statistics(p.grad) for k, p in module.named_parameters()}


def networks(config):
    size, channels = config["image_size"], config["channels"]
    generator = Generator(size, channels, config["latent"], config["generator_width"])
    return fill(generator), fill(Discriminator(size, channels, config["discriminator_width"]))


def bce(logits, target):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def case(config):
    size, channels, latent = config["image_size"], config["channels"], config["latent"]
    real, z = inputs("real", BATCH, channels, size, size), inputs("latent", BATCH, latent)
    generator, discriminator = networks(config)
    out = {
        "config": config,
        "generator_names": digest(generator),
        "discriminator_names": digest(discriminator),
        "evaluated": {
            "pictures": statistics(generator.eval()(z)),
            "logits": discriminator.eval()(real).tolist(),
        },
    }
    # The gradient of what the generator is trained by reaches every parameter of both.
    generator, discriminator = networks(config)
    loss = bce(discriminator(generator(z)), 1.0)
    loss.backward()
    out["gradients"] = {
        "loss": loss.item(),
        "generator": gradients(generator),
        "discriminator": gradients(discriminator),
    }
    # Steps as in the example: the discriminator on real and on made pictures, then the generator.
    generator, discriminator = networks(config)
    before = [{k: v.clone() for k, v in state(m).items()} for m in (generator, discriminator)]
    adam = lambda m: torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999))
    of_g, of_d = adam(generator), adam(discriminator)
    losses = []
    for step in range(STEPS):
        z = inputs(f"latent {step}", BATCH, latent)
        real = inputs(f"real {step}", BATCH, channels, size, size)
        discriminator.zero_grad()
        on_real = bce(discriminator(real), 1.0)
        on_real.backward()
        fake = generator(z)
        on_fake = bce(discriminator(fake.detach()), 0.0)
        on_fake.backward()
        of_d.step()
        generator.zero_grad()
        fooled = bce(discriminator(fake), 1.0)
        fooled.backward()
        of_g.step()
        losses.append([on_real.item(), on_fake.item(), fooled.item()])
    changes = [{k: statistics(v - b[k]) for k, v in state(m).items()} for m, b in zip((generator, discriminator), before)]
    out["trained"] = {"losses": losses, "generator": changes[0], "discriminator": changes[1]}
    return out


def config(size, channels, latent, generator_width, discriminator_width):
    return {
        "image_size": size,
        "channels": channels,
        "latent": latent,
        "generator_width": generator_width,
        "discriminator_width": discriminator_width,
    }


def main():
    torch.manual_seed(0)
    cases = [case(config(64, 3, 100, 64, 64)), case(config(16, 1, 5, 6, 4)), case(config(128, 4, 8, 2, 2))]
    OUT.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases}, indent=1) + "\n")
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
