#!/usr/bin/env python3
"""Makes the pictures that the tests decode, and what they must decode to.

PNG files are put together chunk by chunk with zlib, because no common encoder writes all kinds (Adam7, 16-bit palettes
of transparency, 1-bit grey with a transparent level). Expected pixels are computed with numpy from the samples that went
in; resizing, fitting, padding, luma, JPEG, WebP and GIF are computed with Pillow.

    python3 -m venv venv && venv/bin/pip install pillow numpy
    venv/bin/python make_fixtures.py

writes *.png, *.jpg, *.webp, *.gif and expected.json (name -> width, height, channels, base64 of the pixels) beside this script.
"""

import base64
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
expected = {}


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def packed_rows(samples, depth):
    """Filter byte 0 and packed samples for each row of [height, width, samples per pixel]."""
    rows = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            data = row.astype(">u2").tobytes()
        elif depth == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(v, f"0{depth}b") for v in row)
            bits += "0" * (-len(bits) % 8)
            data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        rows += b"\0" + data
    return rows


def png(samples, depth, color_type, interlaced=False, before_pixels=b""):
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
    if interlaced:
        passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        rows = b"".join(packed_rows(p, depth) for p in passes if p.size)
    else:
        rows = packed_rows(samples, depth)
    body = chunk(b"IHDR", header) + before_pixels + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def expect(name, pixels):
    pixels = np.asarray(pixels, dtype=np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    height, width, channels = pixels.shape
    expected[name] = {
        "width": width, "height": height, "channels": channels,
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
    }  # fmt: skip


def write(name, data, pixels):
    (HERE / name).write_bytes(data)
    expect(name, pixels)


def rounded(numerator, denominator):
    """Integer division, with halves rounded up."""
    return (2 * numerator.astype(object) + denominator) // (2 * denominator)


def composed(color, alpha, maximum, background=255):
    """8-bit levels of samples (0...maximum) over an 8-bit background, rounded once."""
    unit = maximum // 255
    total = color.astype(object) * alpha.astype(object) + background * unit * (maximum - alpha.astype(object))
    return rounded(total, maximum * unit).astype(np.uint8)


def main():
    random = np.random.default_rng(20240601)
    height, width = 11, 13

    for depth in (1, 2, 4, 8, 16):
        maximum = (1 << depth) - 1
        grey = random.integers(0, maximum + 1, (height, width, 1))
        if depth == 16:
            # The last value that becomes 0, the first that becomes 1, and the same below 255.
            grey[0, :4, 0] = [128, 129, 65406, 65407]
            level = rounded(grey, 257)
        else:
            level = grey * 255 // maximum
        for interlaced in (False, True):
            suffix = "-interlaced" if interlaced else ""
            write(f"grey{depth}{suffix}.png", png(grey, depth, GREY, interlaced), level)

    for depth in (8, 16):
        maximum = (1 << depth) - 1
        rgb = random.integers(0, maximum + 1, (height, width, 3))
        rgb8 = rgb if depth == 8 else rounded(rgb, 257)
        alpha = random.integers(0, maximum + 1, (height, width, 1))
        alpha[0, 0], alpha[0, 1] = 0, maximum
        rgba = np.concatenate([rgb, alpha], 2)
        grey_alpha = np.concatenate([rgb[:, :, :1], alpha], 2)
        for interlaced in (False, True):
            suffix = "-interlaced" if interlaced else ""
            write(f"rgb{depth}{suffix}.png", png(rgb, depth, RGB, interlaced), rgb8)
            write(f"rgba{depth}{suffix}.png", png(rgba, depth, RGBA, interlaced), composed(rgb, alpha, maximum))
        write(f"grey-alpha{depth}.png", png(grey_alpha, depth, GREY_ALPHA), composed(rgb[:, :, :1], alpha, maximum))
        expect(f"rgba{depth}.png over 40", composed(rgb, alpha, maximum, 40))

        transparent = chunk(b"tRNS", struct.pack(">HHH", *rgb[3, 4]))
        over_white = np.where((rgb == rgb[3, 4]).all(2, keepdims=True), 255, rgb8)
        write(f"rgb{depth}-transparent.png", png(rgb, depth, RGB, before_pixels=transparent), over_white)

    bits = random.integers(0, 4, (height, width, 1))
    write("grey2-transparent.png", png(bits, 2, GREY, before_pixels=chunk(b"tRNS", struct.pack(">H", 2))),
          np.where(bits == 2, 255, bits * 85))  # fmt: skip

    for depth in (1, 2, 4, 8):
        size = 1 << depth
        palette = random.integers(0, 256, (size, 3))
        alphas = random.integers(0, 256, (size + 1) // 2)
        index = random.integers(0, size, (height, width, 1))
        plte = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        trns = chunk(b"tRNS", alphas.astype(np.uint8).tobytes())
        all_alphas = np.concatenate([alphas, np.full(size - len(alphas), 255)])
        write(f"palette{depth}.png", png(index, depth, PALETTE, before_pixels=plte), palette[index[:, :, 0]])
        write(f"palette{depth}-transparent.png", png(index, depth, PALETTE, True, plte + trns),
              composed(palette[index[:, :, 0]], all_alphas[index], 255))  # fmt: skip

    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    grey = random.integers(0, 256, (height, width, 1))
    write("gamma.png", png(grey, 8, GREY, before_pixels=gamma), grey)

    compressed = b"Comment\0\0" + zlib.compress("déjà vu".encode("latin-1"))
    international = b"Title\0\1\0en\0Titel\0" + zlib.compress("絵".encode())
    text = chunk(b"zTXt", compressed) + chunk(b"iTXt", international) + chunk(b"tEXt", b"Author\0\xc9ric")
    (HERE / "text.png").write_bytes(png(grey, 8, GREY, before_pixels=text))

    y, x = np.mgrid[0:29, 0:37]
    photo = np.stack([x * 6 + y, 255 - y * 8, (x * y) % 256], 2).clip(0, 255).astype(np.uint8)
    photo[5:20, 8:24] = random.integers(0, 256, (15, 16, 3))
    write("photo.png", png(photo, 8, RGB), photo)
    picture = Image.fromarray(photo)
    expect("luma", picture.convert("L"))
    for target in [(16, 16), (37, 7), (9, 29), (64, 50), (1, 1), (20, 29)]:
        expect(f"resized {target[0]}x{target[1]}", picture.resize(target, Image.Resampling.BILINEAR))
        expect(f"fitted {target[0]}x{target[1]}", ImageOps.fit(picture, target, Image.Resampling.BILINEAR))
        expect(f"padded {target[0]}x{target[1]}", ImageOps.pad(picture, target, Image.Resampling.BILINEAR))
    expect("resized grey 10x12", picture.convert("L").resize((10, 12), Image.Resampling.BILINEAR))

    for name, image in {"rgb.jpg": picture, "grey.jpg": picture.convert("L")}.items():
        image.save(HERE / name, quality=90)
        expect(name, Image.open(HERE / name))
    picture.save(HERE / "progressive.jpg", quality=85, progressive=True)
    expect("progressive.jpg", Image.open(HERE / "progressive.jpg"))
    picture.convert("CMYK").save(HERE / "cmyk.jpg")
    expect("cmyk.jpg", Image.open(HERE / "cmyk.jpg").convert("RGB"))
    # The same without the marker that Adobe's programs write.
    data = (HERE / "cmyk.jpg").read_bytes()
    start = data.index(b"\xff\xee")
    (HERE / "cmyk-plain.jpg").write_bytes(data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :])
    expect("cmyk-plain.jpg", Image.open(HERE / "cmyk-plain.jpg").convert("RGB"))

    picture.save(HERE / "lossy.webp", quality=80)
    expect("lossy.webp", Image.open(HERE / "lossy.webp").convert("RGB"))
    alpha = random.integers(0, 256, (*photo.shape[:2], 1))
    alpha[0, 0], alpha[0, 1] = 0, 255
    rgba = Image.fromarray(np.concatenate([photo, alpha], 2).astype(np.uint8))
    rgba.save(HERE / "lossless-alpha.webp", lossless=True, exact=True)
    expect("lossless-alpha.webp", composed(photo, alpha, 255))
    expect("lossless-alpha.webp over 0", composed(photo, alpha, 255, 0))
    few = picture.quantize(16)
    indices, palette = np.asarray(few), np.array(few.getpalette()).reshape(-1, 3)
    few.save(HERE / "interlaced.gif", interlace=1)
    expect("interlaced.gif", palette[indices])
    few.save(HERE / "frames.gif", interlace=0, transparency=3, save_all=True, append_images=[few.rotate(180)])
    expect("frames.gif", np.where(indices[:, :, None] == 3, 255, palette[indices]))
    expect("frames.gif over 0", np.where(indices[:, :, None] == 3, 0, palette[indices]))

    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


main()
