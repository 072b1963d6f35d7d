import EaselKit
import EaselTestSupport
import Foundation
import Testing

extension CommandTests {
  @Test func aMaskedAutoencoderIsTrainedAndFillsInWhateverIsHidden() throws {
    let program = try Program()
    try program.writeImages("images", side: 12, channels: 3)
    let training = try program.run(
      "train", "masked-autoencoder", "--data", "images", "--run", "masked", "--steps", "3", "--batch-size", "8",
      "--set", "width=16", "--set", "depth=2", "--set", "decoder-width=8", "--set", "drop-path=0.1", "--seed", "3")
    #expect(training.status == 0, "\(training.errors)")
    // A picture of 24 × 24 whose right half is bright.
    let pixels = (0..<24 * 24).map { UInt8($0 % 24 >= 12 ? 255 : 0) }
    try Image(width: 24, height: 24, channels: 1, pixels: pixels).write(to: program.path("mask.png"))

    // The verb, and the missing ones of 12 × 12 pixels.
    func inRightHalf(_ x: Int, _ y: Int) -> Bool { x >= 6 }
    for (arguments, isMissing) in [
      (["--mask", "right"], inRightHalf), (["--mask", "mask.png"], inRightHalf),
      (["--mask", "left", "--masked", "0.25"], { x, _ in x < 3 }), (["--mask", "top"], { _, y in y < 6 }),
      (["--mask", "bottom"], { _, y in y >= 6 }),
      (["--mask", "center"], { x, y in (3..<9).contains(x) && (3..<9).contains(y) }), ([], nil),
    ] as [([String], ((Int, Int) -> Bool)?)] {
      let result = try program.run(["inpaint", "masked", "--count", "2", "--output", "out.png", "--json"] + arguments)
      guard arguments != ["--mask", "center"] else {
        // Every patch of 4 × 4 contains a part of it.
        #expect(result.status == 64 && result.errors.contains("every patch of 4×4"), "\(result.errors)")
        continue
      }
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      let report = try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
      let figures = try #require(report["figures"] as? [String: Double])
      #expect(Set(figures.keys) == ["mse-missing", "mse-missing-trivial", "psnr"])

      let sheet = try Image.read(program.path("out.png"))
      #expect(sheet.width == 2 * 14 + 2 && sheet.height == 3 * 14 + 2 && sheet.channels == 3)
      func color(_ row: Int, _ image: Int, _ x: Int, _ y: Int) -> [UInt8] {
        let place = ((row * 14 + 2 + y) * sheet.width + image * 14 + 2 + x) * 3
        return Array(sheet.pixels[place..<place + 3])
      }
      var (hidden, wrong, squares) = (0, 0, 0.0)
      for place in 0..<2 * 144 {
        let (image, x, y) = (place / 144, place % 12, place / 12 % 12)
        let (original, shown, completed) = (color(0, image, x, y), color(1, image, x, y), color(2, image, x, y))
        let missing = isMissing?(x, y) ?? (shown == [128, 128, 128])
        if missing ? shown != [128, 128, 128] : shown != original || completed != original { wrong += 1 }
        if missing {
          hidden += 1
          for channel in 0..<3 {
            let difference = (Double(original[channel]) - Double(completed[channel])) / 255
            squares += difference * difference / 3
          }
        }
      }
      #expect(wrong == 0, "\(arguments): \(wrong) pixels")
      // 2 of 9 patches are visible.
      if isMissing == nil { #expect(hidden == 2 * 7 * 16) }
      let error = figures["mse-missing"] ?? .nan
      #expect(abs(squares / Double(hidden) - error) < 0.01 * error + 1e-4, "\(arguments)")
    }
  }

  @Test func masksAndPicturesOfOtherProportionsAreBroughtToTheImagesOnes() throws {
    let program = try Program()
    try program.writeImages("images", side: 12)
    let training = try program.run(
      "train", "masked-autoencoder", "--data", "images", "--run", "masked", "--steps", "1", "--batch-size", "8",
      "--set", "width=16", "--set", "depth=1", "--set", "decoder-width=8", "--set", "patch=2")
    #expect(training.status == 0 && !training.errors.contains("--fit"), "\(training.errors)")
    // Twice as wide as high, the left quarter bright; and a photo of the same proportions.
    for (name, levels) in [("mask", [255, 0, 0, 0]), ("half", [255, 255, 0, 0]), ("photo", [10, 60, 120, 180])]
      as [(String, [UInt8])]
    {
      let pixels = (0..<12 * 24).map { levels[$0 % 24 / 6] }
      try Image(width: 24, height: 12, channels: 1, pixels: pixels).write(to: program.path("\(name).png"))
    }
    // White, black, transparent white, transparent black: unpainted pixels are kept.
    let paints: [[UInt8]] = [[255, 255, 255, 255], [0, 0, 0, 255], [255, 255, 255, 0], [0, 0, 0, 0]]
    let pixels = (0..<144).flatMap { paints[$0 % 12 / 3] }
    try Data(transparentPNG(width: 12, height: 12, pixels: pixels)).write(
      to: URL(fileURLWithPath: program.path("alpha.png")))

    /// The columns of the middle row that are shown as missing.
    func missing(_ mask: String, _ more: String...) throws -> (columns: [Int], errors: String) {
      let result = try program.run(
        ["inpaint", "masked", "--mask", mask, "--images", "images/even/0.png", "--output", "out.png"] + more)
      #expect(result.status == 0, "\(mask) \(more): \(result.errors)")
      let sheet = try Image.read(program.path("out.png"))
      let shown = (0..<12).map { sheet.pixels[((14 + 2 + 6) * sheet.width + 2 + $0) * sheet.channels] }
      return ((0..<12).filter { shown[$0] == 128 }, result.errors)
    }
    // Nothing of this mask remains when it is cropped to its middle.
    let nothing = try program.run("inpaint", "masked", "--mask", "mask.png")
    #expect(nothing.status == 64 && nothing.errors.contains("no pixel would be missing"), "\(nothing.errors)")
    #expect(nothing.errors.contains("--fit pad or stretch keeps all of it"), "\(nothing.errors)")
    let half = try missing("half.png")
    #expect(half.columns == Array(0..<6))
    #expect(half.errors.contains("--mask: the picture of 24×12 has other proportions"), "\(half.errors)")
    let stretched = try missing("mask.png", "--fit", "stretch")
    #expect(stretched.columns == [0, 1, 2] && !stretched.errors.contains("proportions"))
    let padded = try missing("mask.png", "--fit", "pad")
    #expect(padded.columns == [0, 1, 2] && !padded.errors.contains("proportions"))
    #expect(try missing("alpha.png").columns == [0, 1, 2])

    let cropped = try program.run(
      "inpaint", "masked", "--mask", "left", "--images", "photo.png", "images/odd/1.png", "--output", "out.png")
    #expect(cropped.status == 0)
    #expect(
      cropped.errors.contains("1 of 2 pictures of --images have other proportions than 12×12"), "\(cropped.errors)")

    // A run remembers how its images were resized.
    try FileManager.default.createDirectory(atPath: program.path("wide"), withIntermediateDirectories: true)
    for name in ["a", "b", "c"] {
      try FileManager.default.copyItem(atPath: program.path("photo.png"), toPath: program.path("wide/\(name).png"))
    }
    for (fit, count) in [("crop", 1), ("pad", 0), ("stretch", 0)] {
      func notes(_ result: Program.Result) -> Int {
        #expect(result.status == 0, "\(result.errors)")
        return result.errors.components(separatedBy: "3 of 3 pictures").count - 1
      }
      #expect(
        notes(
          try program.run(
            "train", "autoencoder", "--data", "wide", "--image-size", "12", "--fit", fit, "--run", fit, "--steps", "1",
            "--batch-size", "2", "--set", "base-channels=8")) == count)
      #expect(notes(try program.run("resume", fit, "--steps", "2")) == count)
      #expect(notes(try program.run("data", "info", "wide", "--image-size", "12", "--fit", fit)) == count)
      #expect(notes(try program.run("reconstruct", fit, "--output", "\(fit).png")) == count)
      let sheet = try Image.read(program.path("\(fit).png"))
      let expected = try Image.read(program.path("photo.png")).brought(
        to: ImageSize(width: 12, height: 12), by: #require(ImageFit(rawValue: fit)))
      #expect(sheet.pixels[2 * sheet.width + 2..<2 * sheet.width + 14].elementsEqual(expected.pixels[..<12]))
    }
  }

  @Test func maskedPatchesAreThoseOfTheSeedAndTheImage() throws {
    let program = try Program()
    try program.writeImages("images")
    let training = try program.run(
      "train", "masked-autoencoder", "--data", "images", "--run", "masked", "--steps", "1", "--batch-size", "8",
      "--set", "width=16", "--set", "depth=1", "--set", "decoder-width=8", "--set", "patch=2")
    #expect(training.status == 0, "\(training.errors)")
    func inpaint(_ name: String, _ more: String...) throws -> Image {
      let result = try program.run(["inpaint", "masked", "--output", name, "--columns", "1"] + more)
      #expect(result.status == 0, "\(result.errors)")
      return try Image.read(program.path(name))
    }
    let (four, two) = (try inpaint("four.png", "--count", "4"), try inpaint("two.png", "--count", "2"))
    let other = try inpaint("other.png", "--count", "2", "--seed", "1")
    #expect(two != other)
    // One image per row: the first two are the same, except for the padding below them.
    let shared = two.width * (two.height - 2)
    #expect(four.pixels.prefix(shared) == two.pixels.prefix(shared))

    let recipe = try program.run("inspect", "two.png")
    #expect(recipe.output.contains("easel inpaint") && recipe.output.contains("27 of 36 patches of 2×2"))
    // Masks that cannot be filled in, and models that cannot fill in.
    for (arguments, status, message) in [
      (["--mask", "rihgt"], 64, "Did you mean right?"), (["--mask", "none.png"], 66, "none.png"),
      (["--masked", "1"], 64, "--masked: expected"), (["--masked", "0.99"], 64, "every pixel would be missing"),
      (["--patch", "0"], 64, "--patch: expected"), (["--masked", "nan"], 64, "--masked: expected"),
    ] as [([String], Int32, String)] {
      let before = program.contents
      let result = try program.run(["inpaint", "masked", "--output", "new/picture.png"] + arguments)
      #expect(result.status == status && result.errors.contains(message), "\(arguments): \(result.errors)")
      #expect(program.contents == before, "\(arguments)")
    }
    try program.trainTinyAutoencoder(run: "plain")
    let refused = try program.run("inpaint", "plain")
    #expect(refused.status == 69 && refused.errors.contains("cannot inpaint"), "\(refused.errors)")
  }
}

extension Program {
  fileprivate func trainTinyAutoencoder(run: String) throws {
    let result = try self.run(
      "train", "autoencoder", "--data", "images", "--run", run, "--steps", "1", "--batch-size", "8", "--set",
      "base-channels=8")
    #expect(result.status == 0, "\(result.errors)")
  }
}
