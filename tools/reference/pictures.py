#!/usr/bin/env python3
"""Writes crates/opticus-pixels/tests/golden/: what Pillow and torchvision make of small pictures.

    pip install pillow==13.0.0 torchvision==0.29.2 torch==2.15.0
    python tools/reference/pictures.py

- decode/NAME.ext        a picture file of each kind; NAME.ppm and NAME.pgm are `Image.open().convert("RGB")` and
                         `.convert("L")` of it. A name that begins with `deep_` holds 16 bits a channel, of which the
                         .ppm and .pgm hold the level that is nearest (v / 257), because Pillow clips 16-bit grey
                         and cuts 16-bit colour.
- orientation/NAME.ext   the same picture with each of the eight EXIF orientations; upright_N.ppm is what
                         `ImageOps.exif_transpose` makes of it.
- resize.json, fit.json, adjust.json   sources and results as hexadecimal bytes, rows top to bottom.

What Pillow cannot write (interlaced and 16-bit PNG, big-endian TIFF, GIF frames smaller than their canvas, YCCK
JPEG) is written here from the formats' specifications.
"""

import io
import json
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

GOLDEN = Path(__file__).parents[2] / "crates/opticus-pixels/tests/golden"
WIDTH, HEIGHT = 21, 11


def noise(width, height, channels, seed=1):
    """Bytes of a linear congruential generator: the same everywhere."""
    state, data = seed, bytearray()
    for _ in range(width * height * channels):
        state = (state * 1103515245 + 12345) % (1 << 31)
        data.append(state >> 16 & 255)
    return bytes(data)


def smooth(width, height, channels):
    """Slow slopes and one edge, as photographs have them."""
    value = lambda x, y, c: (7 * x * (c + 1) + 5 * y * (3 - c) + 60 * c + (90 if x + y > width else 0)) // 2 % 256
    return bytes(min(255, value(x, y, c)) for y in range(height) for x in range(width) for c in range(channels))


def picture(mode, data=None, size=(WIDTH, HEIGHT)):
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, data or noise(*size, channels))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# PNG, third edition.

def png(depth, colour, samples, size=(WIDTH, HEIGHT), interlaced=False, chunks=()):
    """`samples[y][x]` is a tuple of the pixel's samples."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def row(pixels):
        bits = "".join(format(s, f"0{depth}b") for p in pixels for s in p)
        bits += "0" * (-len(bits) % 8)
        return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")

    width, height = size
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(row(samples[y][x0::dx]) for x0, y0, dx, dy in passes for y in range(y0, height, dy)
                    if samples[y][x0::dx])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(k, d) for k, d in chunks)
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def samples(depth, channels, seed=3):
    data = noise(WIDTH * 2, HEIGHT, channels, seed)
    words = [(data[2 * i] << 8 | data[2 * i + 1]) >> 16 - depth for i in range(WIDTH * HEIGHT * channels)]
    return [[tuple(words[(y * WIDTH + x) * channels:][:channels]) for x in range(WIDTH)] for y in range(HEIGHT)]


def pngs():
    yield "grey1", png(1, 0, samples(1, 1))
    yield "grey2", png(2, 0, samples(2, 1))
    yield "grey4", png(4, 0, samples(4, 1))
    yield "grey8", png(8, 0, samples(8, 1))
    yield "greyalpha8", png(8, 4, samples(8, 2))
    yield "rgb8", png(8, 2, samples(8, 3))
    yield "rgba8", png(8, 6, samples(8, 4))
    yield "rgb8_key", png(8, 2, samples(8, 3), chunks=[(b"tRNS", struct.pack(">HHH", *samples(8, 3)[2][2]))])
    for depth in (1, 2, 4, 8):
        entries = 1 << depth
        palette = (b"PLTE", noise(entries, 1, 3, seed=9))
        yield f"palette{depth}", png(depth, 3, samples(depth, 1), chunks=[palette])
        clear = (b"tRNS", noise(entries // 2, 1, 1, seed=5))
        yield f"palette{depth}_clear", png(depth, 3, samples(depth, 1), chunks=[palette, clear])
    yield "grey4_interlaced", png(4, 0, samples(4, 1), interlaced=True)
    yield "rgb8_interlaced", png(8, 2, samples(8, 3), interlaced=True)
    yield "rgba8_interlaced", png(8, 6, samples(8, 4), interlaced=True)


def deep_pngs():
    yield "grey16", png(16, 0, samples(16, 1)), samples(16, 1)
    yield "greyalpha16", png(16, 4, samples(16, 2)), samples(16, 2)
    yield "rgb16", png(16, 2, samples(16, 3)), samples(16, 3)
    yield "rgba16_interlaced", png(16, 6, samples(16, 4), interlaced=True), samples(16, 4)


# GIF89a.

def gif(canvas, frame, indices, *, colours=16, transparent=None, background=0, local=False, interlaced=False):
    """One frame (left, top, width, height); codes of the least size that never grows: cleared before it would."""
    def bits(codes, width):
        number = sum(code << width * i for i, code in enumerate(codes))
        return number.to_bytes((len(codes) * width + 7) // 8, "little")

    table = noise(colours, 1, 3, seed=11)
    size = colours.bit_length() - 2
    depth = max(2, size + 1)
    left, top, width, height = frame
    rows = list(range(height))
    if interlaced:
        rows = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
    codes = []
    for i, index in enumerate(indices[y * width + x] for y in rows for x in range(width)):
        if i % ((1 << depth) - 2) == 0:
            codes.append(1 << depth)
        codes.append(index)
    codes.append((1 << depth) + 1)
    data = bits(codes, depth + 1)
    blocks = b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255)) + b"\0"
    control = b""
    if transparent is not None:
        control = b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    flags = (0x80 if local else 0) | (0x40 if interlaced else 0) | (size if local else 0)
    out = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0 if local else 0x80 | size, background, 0)
    out += (b"" if local else table) + control
    out += b"\x2c" + struct.pack("<HHHHB", left, top, width, height, flags) + (table if local else b"")
    return out + bytes([depth]) + blocks + b"\x3b"


def gifs():
    indices = [v % 16 for v in noise(WIDTH, HEIGHT, 1, seed=7)]
    whole = ((WIDTH, HEIGHT), (0, 0, WIDTH, HEIGHT), indices)
    yield "whole", gif(*whole)
    yield "clear", gif(*whole, transparent=5)
    yield "local_interlaced", gif(*whole, local=True, interlaced=True)
    small = ((WIDTH, HEIGHT), (3, 1, 11, 9), indices)
    yield "small", gif(*small, background=3)
    yield "small_clear", gif(*small, transparent=5, background=3)
    yield "small_local", gif(*small, local=True)
    yield "beyond", gif((WIDTH, HEIGHT), (14, 5, 12, 10), indices)
    first = picture("P", bytes(v % 4 for v in noise(WIDTH, HEIGHT, 1)))
    first.putpalette(noise(256, 1, 3, seed=2))
    second = picture("P", bytes(v % 4 for v in noise(WIDTH, HEIGHT, 1, seed=8)))
    second.putpalette(noise(256, 1, 3, seed=2))
    yield "animated", saved(first, "GIF", save_all=True, append_images=[second], duration=50)


# TIFF 6.0.

def tiff(endian, tags, data):
    """One strip; `tags` maps a tag to its SHORT values."""
    tags = {**tags, 273: None, 278: tags[257], 279: None}
    extra, entries = b"", b""
    at = 8 + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        if values is None:
            value = len(data) if tag == 279 else at + sum(2 * len(v) for v in tags.values() if v and len(v) > 2)
            entries += struct.pack(endian + "HHII", tag, 4, 1, value)
        elif len(values) <= 2:
            entries += struct.pack(endian + "HHI", tag, 3, len(values)) + struct.pack(
                endian + "HH", *values, *[0] * (2 - len(values)))
        else:
            entries += struct.pack(endian + "HHII", tag, 3, len(values), at + len(extra))
            extra += struct.pack(endian + f"{len(values)}H", *values)
    mark = b"II" if endian == "<" else b"MM"
    head = mark + struct.pack(endian + "HIH", 42, 8, len(tags))
    return head + entries + struct.pack(endian + "I", 0) + extra + data


def tiff_tags(depth, channels, photometric):
    return {256: [WIDTH], 257: [HEIGHT], 258: [depth] * channels, 259: [1], 262: [photometric], 277: [channels],
            284: [1]}


def packed(depth, rows):
    out = b""
    for row in rows:
        bits = "".join(format(s, f"0{depth}b") for p in row for s in p)
        bits += "0" * (-len(bits) % 8)
        out += int(bits, 2).to_bytes(len(bits) // 8, "big")
    return out


def tiffs():
    rgb, grey = picture("RGB"), picture("L")
    yield "rgb8", saved(rgb, "TIFF")
    yield "grey8_lzw", saved(grey, "TIFF", compression="tiff_lzw")
    yield "rgb8_lzw", saved(rgb, "TIFF", compression="tiff_lzw")
    yield "rgb8_lzw_predictor", saved(rgb, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "rgb8_deflate", saved(rgb, "TIFF", compression="tiff_adobe_deflate")
    yield "rgb8_packbits", saved(rgb, "TIFF", compression="packbits")
    yield "rgba8", saved(picture("RGBA"), "TIFF")
    yield "cmyk8", saved(picture("CMYK"), "TIFF")
    yield "cmyk8_lzw", saved(picture("CMYK"), "TIFF", compression="tiff_lzw")
    yield "grey8_big_endian", tiff(">", tiff_tags(8, 1, 1), noise(WIDTH, HEIGHT, 1))
    yield "rgb8_big_endian", tiff(">", tiff_tags(8, 3, 2), noise(WIDTH, HEIGHT, 3))
    yield "grey8_white_is_zero", tiff("<", tiff_tags(8, 1, 0), noise(WIDTH, HEIGHT, 1))
    yield "grey1", tiff("<", tiff_tags(1, 1, 1), packed(1, samples(1, 1)))
    yield "grey1_white_is_zero", tiff("<", tiff_tags(1, 1, 0), packed(1, samples(1, 1)))


def deep_tiffs():
    words = lambda endian, rows: b"".join(struct.pack(endian + "H", s) for row in rows for p in row for s in p)
    for endian, name in (("<", "little"), (">", "big")):
        yield f"grey16_{name}", tiff(endian, tiff_tags(16, 1, 1), words(endian, samples(16, 1))), samples(16, 1)
        yield f"rgb16_{name}", tiff(endian, tiff_tags(16, 3, 2), words(endian, samples(16, 3))), samples(16, 3)


def bmps():
    yield "rgb24", saved(picture("RGB"), "BMP")
    yield "grey8", saved(picture("L"), "BMP")
    yield "one", saved(picture("L").convert("1"), "BMP")
    yield "rgba32", saved(picture("RGBA"), "BMP")
    indexed = picture("P")
    indexed.putpalette(noise(256, 1, 3, seed=4))
    yield "palette8", saved(indexed, "BMP")


def jpegs():
    photo = picture("RGB", smooth(WIDTH, HEIGHT, 3))
    grey = picture("L", smooth(WIDTH, HEIGHT, 1))
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"baseline_{name}", saved(photo, "JPEG", quality=90, subsampling=subsampling)
        yield f"progressive_{name}", saved(photo, "JPEG", quality=90, subsampling=subsampling, progressive=True)
    yield "low_quality", saved(photo, "JPEG", quality=30)
    yield "restarts", saved(photo, "JPEG", quality=90, restart_marker_blocks=1)
    yield "grey", saved(grey, "JPEG", quality=90)
    yield "grey_progressive", saved(grey, "JPEG", quality=90, progressive=True)
    cmyk = saved(picture("CMYK", smooth(WIDTH, HEIGHT, 4)), "JPEG", quality=95)
    yield "cmyk", cmyk
    # The Adobe marker's transform says whether the first three components are CMY (0) or YCC (2).
    at = cmyk.index(b"Adobe\0") + 11
    assert cmyk[at] == 0
    yield "ycck", cmyk[:at] + b"\2" + cmyk[at + 1:]
    # Adobe RGB: three components, transform 0.
    yield "rgb", saved(photo, "JPEG", quality=95, keep_rgb=True)


def webps():
    photo = picture("RGB", smooth(WIDTH, HEIGHT, 3))
    yield "lossy", saved(photo, "WEBP", quality=85)
    yield "lossless", saved(picture("RGB"), "WEBP", lossless=True)
    yield "lossless_alpha", saved(picture("RGBA"), "WEBP", lossless=True, exact=True)
    translucent = photo.copy()
    translucent.putalpha(picture("L", smooth(WIDTH, HEIGHT, 1)))
    yield "lossy_alpha", saved(translucent, "WEBP", quality=85, exact=True)
    yield "animated", saved(picture("RGB"), "WEBP", lossless=True, save_all=True,
                            append_images=[picture("RGB", noise(WIDTH, HEIGHT, 3, seed=6))])


def decode():
    folder = GOLDEN / "decode"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, cases in (("png", pngs()), ("gif", gifs()), ("tiff", tiffs()), ("bmp", bmps()), ("jpg", jpegs()),
                        ("webp", webps())):
        for name, data in cases:
            stem = folder / f"{kind}_{name}"
            stem.with_suffix(f".{kind}").write_bytes(data)
            image = Image.open(io.BytesIO(data))
            image.convert("RGB").save(stem.with_suffix(".ppm"))
            image.convert("L").save(stem.with_suffix(".pgm"))
    for kind, cases in (("png", deep_pngs()), ("tiff", deep_tiffs())):
        for name, data, words in cases:
            stem = folder / f"deep_{kind}_{name}"
            stem.with_suffix(f".{kind}").write_bytes(data)
            pixels = [[round(v / 257) for v in p] for row in words for p in row]
            pixels = [p[:3] if len(p) > 2 else [p[0]] * 3 for p in pixels]
            image = Image.frombytes("RGB", (WIDTH, HEIGHT), bytes(v for p in pixels for v in p))
            image.save(stem.with_suffix(".ppm"))
            image.convert("L").save(stem.with_suffix(".pgm"))


def orientation():
    folder = GOLDEN / "orientation"
    folder.mkdir(parents=True, exist_ok=True)
    grey = picture("L", bytes(20 * y + 9 * x + 30 for y in range(5) for x in range(9)), (9, 5))
    for n in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = n
        files = {
            "png": saved(grey, "PNG", exif=exif),
            "webp": saved(grey, "WEBP", lossless=True, exif=exif),
            "jpg": saved(grey, "JPEG", quality=100, exif=exif),
            "tiff": saved(grey, "TIFF", tiffinfo={0x0112: n}),
        }
        # The same block with the high byte first.
        big = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, n, 0, 0)
        files["big.jpg"] = saved(grey, "JPEG", quality=100, exif=big)
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(files["png"]))).convert("RGB")
        upright.save(folder / f"upright_{n}.ppm")
        for ending, data in files.items():
            (folder / f"turned_{n}.{ending}").write_bytes(data)
            again = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
            assert again.size == upright.size
            far = max(abs(a - b) for a, b in zip(again.tobytes(), upright.tobytes()))
            assert far <= (3 if "jpg" in ending else 0)


FILTERS = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
           "bicubic": Image.Resampling.BICUBIC, "lanczos3": Image.Resampling.LANCZOS}
TORCH = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


def source(image):
    return {"width": image.width, "height": image.height, "channels": len(image.getbands()),
            "data": image.tobytes().hex()}


def resize():
    pairs = [("RGB", (17, 13), (5, 4)), ("RGB", (17, 13), (8, 13)), ("RGB", (7, 5), (16, 11)),
             ("RGB", (13, 6), (4, 15)),        ("RGB", (1, 9), (3, 4)), ("RGB", (9, 1), (4, 3)), ("RGB", (1, 1), (5, 3)), ("RGB", (11, 8), (1, 1)),
             ("L", (17, 13), (5, 4)), ("L", (7, 5), (16, 11)), ("L", (1, 9), (1, 2)), ("L", (40, 3), (3, 2)),
             ("RGBA", (9, 7), (4, 5)), ("RGBA", (4, 5), (9, 7))]
    cases = []
    for mode, have, want in pairs:
        image = picture(mode, size=have)
        results = {name: image.resize(want, resample) for name, resample in FILTERS.items()}
        cases.append({"source": source(image), "width": want[0], "height": want[1],
                      "results": {name: result.tobytes().hex() for name, result in results.items()}})
    return cases


def letterbox(image, size, resample, fill):
    """Ultralytics' LetterBox(auto=False, scale_fill=False, scaleup=True, center=True), with Pillow's resampling."""
    ratio = min(size[0] / image.width, size[1] / image.height)
    inner = round(image.width * ratio), round(image.height * ratio)
    left, top = (round((want - have) / 2 - 0.1) for want, have in zip(size, inner))
    out = Image.new(image.mode, size, (fill,) * len(image.getbands()))
    out.paste(image.resize(inner, resample), (left, top))
    return out


def fit():
    pairs = [((17, 13), 8, (6, 6)), ((13, 17), 8, (7, 7)), ((17, 13), 9, (8, 5)), ((31, 8), 7, (6, 5)),
             ((6, 11), 12, (9, 12)),
             ((5, 3), 3, (6, 6)), ((3, 5), 3, (8, 7)), ((3, 3), 3, (4, 4)), ((3, 3), 3, (6, 5)), ((1, 50), 6, (5, 5)),
             ((50, 1), 3, (4, 4)), ((12, 12), 12, (7, 7))]
    cases = []
    for have, shorter, want in pairs:
        image = picture("RGB", size=have)
        results = {name: F.center_crop(F.resize(image, shorter, mode), [want[1], want[0]])
                   for name, mode in TORCH.items()}
        cases.append({"source": source(image), "resize_shorter": shorter, "width": want[0], "height": want[1],
                      "results": {name: result.tobytes().hex() for name, result in results.items()}})
    boxes = [((17, 13), (12, 12)), ((13, 17), (12, 12)), ((5, 4), (11, 12)), ((31, 8), (10, 9)), ((9, 9), (6, 9)),
             ((2, 3), (7, 7)),
             ((40, 7), (15, 15)), ((10, 10), (10, 10))]
    for have, want in boxes:
        image = picture("RGB", size=have)
        results = {name: letterbox(image, want, FILTERS[name], 114) for name in TORCH}
        cases.append({"source": source(image), "fill": 114, "width": want[0], "height": want[1],
                      "results": {name: result.tobytes().hex() for name, result in results.items()}})
    return cases


def adjust():
    low = bytes(70 + v % 90 for v in noise(9, 5, 3, seed=4))
    sources = {"rgb": picture("RGB", size=(9, 5)), "low": picture("RGB", low, (9, 5)),
               "grey": picture("L", size=(9, 5)), "low_grey": picture("L", low[:9 * 5], (9, 5)),
               "plain": Image.new("RGB", (4, 3), (90, 120, 250)), "thin": picture("RGB", size=(7, 2))}
    operations = {
        "brightness": (F.adjust_brightness, [0.0, 0.3, 1.0, 1.7]),
        "contrast": (F.adjust_contrast, [0.0, 0.4, 1.0, 1.9]),
        "saturation": (F.adjust_saturation, [0.0, 0.6, 1.0, 2.2]),
        "hue": (F.adjust_hue, [-0.5, -0.13, 0.0, 0.02, 0.31, 0.5]),
        "sharpness": (F.adjust_sharpness, [0.0, 0.5, 1.0, 2.5]),
        "posterize": (F.posterize, [1, 3, 8]),
        "solarize": (F.solarize, [0, 77, 255]),
        "autocontrast": (lambda image, _: F.autocontrast(image), [0]),
        "equalize": (lambda image, _: F.equalize(image), [0]),
    }
    cases = []
    for operation, (function, values) in operations.items():
        for name, image in sources.items():
            for value in values:
                cases.append({"operation": operation, "value": value, "source": name,
                              "result": function(image, value).tobytes().hex()})
    return {"sources": {name: source(image) for name, image in sources.items()}, "cases": cases}


def main():
    decode()
    orientation()
    for name, cases in (("resize", resize()), ("fit", fit()), ("adjust", adjust())):
        (GOLDEN / f"{name}.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
