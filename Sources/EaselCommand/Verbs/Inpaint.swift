import ArgumentParser
import EaselKit
import Foundation

struct Inpaint: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Hide a part of images and let the model fill it in: original, masked and completed rows.",
    discussion: """
      Also prints how far the made-up pixels are from the true ones, beside the error of the plainest completion there is, \
      the mean of each image's known pixels.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions

  @Option(parsing: .unconditional, help: "How many images.")
  var count = 8

  @Option(parsing: .unconditional, help: "Images in a row.")
  var columns = 8

  @Option(help: "\(Hole.Shape.names), or a picture's path: bright pixels are missing.")
  var mask = Hole.Shape.randomPatches.rawValue

  @Option(
    parsing: .unconditional,
    help: "The share that is missing (default: 0.75 of random patches, 0.25 at the center, else 0.5).")
  var masked: Double?

  @Option(parsing: .unconditional, help: "Pixels of a random patch's side (default: the model's own patches', or 4).")
  var patch: Int?

  @Option(parsing: .unconditional, help: "Which random patches, and which completion.")
  var seed: UInt64 = 0

  func run() throws {
    try check(count, "--count", 1...100_000)
    try check(columns, "--columns", 1...1000)
    if let masked, !(masked > 0 && masked < 1) {
      throw UserError(.usage, "--masked: expected a share above 0 and below 1, found \(masked)")
    }
    if let patch { try check(patch, "--patch", 1...1000) }
    var hole: Hole?
    let job = try picture.begin((any Inpainting).self, "inpaint") { model in
      hole = try Hole(
        mask, share: masked, patch: patch ?? model.inpaintingPatch ?? 4, seed: seed, in: model.context.data)
    }
    guard let hole else { return }
    let model = job.model
    let (originals, name) = try input.load(count, for: job.loaded, from: job.workspace)
    let clean = tensor(originals, for: model)
    let missing = originals.indices.map { hole.missing($0) }
    let flags = Tensor(
      missing.flatMap { $0.map { $0 ? 1 : 0 } }, shape: [clean.shape[0], clean.shape[1], clean.shape[2], 1],
      on: model.context.backend)
    let bar = ProgressBar("inpainting")
    let completed = try model.inpaint(clean, missing: flags, seed: seed) { bar.show($0) }

    let pictures = completed.images()
    let figures = [
      "mse-missing": meanSquaredError(completed, clean, where: missing),
      "mse-missing-trivial": meanSquaredError(meansOfKnown(clean, missing), clean, where: missing),
      "psnr": meanSignalToNoise(pictures, originals),
    ]
    Console.note(
      "mean squared error \(figures["mse-missing", default: 0].formatted(5)) of missing pixels "
        + "(\(figures["mse-missing-trivial", default: 0].formatted(5)) with the mean of the known ones), "
        + "mean PSNR \(figures["psnr", default: 0].formatted(2)) dB, over \(originals.count) images of \(name)")
    let recipe = job.recipe([
      "Images": name, "Count": String(originals.count), "Mask": mask, "Missing": hole.description, "Seed": String(seed),
    ])
    let shown = zip(originals, missing).map { image, missing in
      let pixels = image.pixels.enumerated().map { missing[$0 / image.channels] ? 128 : $1 }
      return Image(width: image.width, height: image.height, channels: image.channels, pixels: pixels)
    }
    try job.finish(
      alternatingRows([originals, shown, pictures], columns: columns), columns: min(columns, originals.count), recipe,
      count: originals.count, figures: figures)
  }

  /// The mean squared error of missing pixels.
  private func meanSquaredError(_ images: Tensor, _ originals: Tensor, where missing: [[Bool]]) -> Double {
    let channels = originals.shape[3]
    let flags = missing.flatMap { $0 }
    var (sum, count) = (0.0, 0)
    for (place, pair) in zip(images.values(), originals.values()).enumerated() where flags[place / channels] {
      sum += Double((pair.0 - pair.1) * (pair.0 - pair.1))
      count += 1
    }
    return sum / Double(max(1, count))
  }

  /// Images of one colour, the mean of an image's known pixels.
  private func meansOfKnown(_ images: Tensor, _ missing: [[Bool]]) -> Tensor {
    let channels = images.shape[3]
    let values = images.values()
    let means = missing.enumerated().flatMap { image, missing -> [Float] in
      let known = missing.indices.filter { !missing[$0] }
      let color = (0..<channels).map { channel in
        known.reduce(Float(0)) { $0 + values[(image * missing.count + $1) * channels + channel] } / Float(known.count)
      }
      return [[Float]](repeating: color, count: missing.count).flatMap { $0 }
    }
    return Tensor(means, shape: images.shape, on: images.backend)
  }
}

/// What is missing of images of one size.
private struct Hole {
  enum Shape: String, CaseIterable {
    case randomPatches = "random-patches"
    case center, left, right, top, bottom

    static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
  }

  /// For a picture's recipe.
  let description: String
  /// Whether each pixel of an image, by its number, is missing.
  let missing: (Int) -> [Bool]

  /// - Parameters:
  ///   - mask: a shape's name, or a picture's path.
  ///   - share: nil for what is usual of the shape.
  /// - Throws: `UserError`, among others where nothing would be missing or nothing known.
  init(_ mask: String, share: Double?, patch: Int, seed: UInt64, in data: DataDescription) throws {
    let shape = Shape(rawValue: mask)
    let share = share ?? (shape == .randomPatches ? 0.75 : shape == .center ? 0.25 : 0.5)
    switch shape {
    case nil:
      let pixels = try Hole.picture(mask, in: data)
      description = "\(pixels.count { $0 }) pixels"
      missing = { _ in pixels }
    case .randomPatches:
      let (rows, columns) = ((data.height + patch - 1) / patch, (data.width + patch - 1) / patch)
      let seen = Int(Double(rows * columns) * (1 - share))
      description = "\(rows * columns - seen) of \(rows * columns) patches of \(patch)×\(patch)"
      missing = { image in
        var generator = StreamGenerator(seed: seed, stream: .sampling, index: UInt64(image), draw: 1_000_001)
        let hidden = Set((0..<rows * columns).shuffled(using: &generator).dropFirst(seen))
        return Hole.pixels(data) { hidden.contains($1 / patch * columns + $0 / patch) }
      }
    case .some(let shape):
      let inside = Hole.rectangle(shape, share: share, in: data)
      description = "\(inside.x.count)×\(inside.y.count) pixels"
      let pixels = Hole.pixels(data) { inside.x.contains($0) && inside.y.contains($1) }
      missing = { _ in pixels }
    }
    let first = missing(0)
    if !first.contains(true) || !first.contains(false) {
      throw UserError(
        .usage, "--mask \(mask): \(first.contains(true) ? "every pixel" : "no pixel") would be missing",
        hint: "Change --masked or --patch, or use a picture with bright and dark parts.")
    }
  }

  private static func picture(_ path: String, in data: DataDescription) throws -> [Bool] {
    if !FileManager.default.fileExists(atPath: path), !path.contains("/"), !path.contains(".") {
      throw UserError(
        .usage, "--mask: there is no mask \(path)",
        hint: nearestName(to: path, among: Shape.allCases.map(\.rawValue)).map { "Did you mean \($0)?" }
          ?? "Known: \(Shape.names), or a picture's path.")
    }
    let image = try Image.read(path).fitted(width: data.width, height: data.height)
    return image.converted(channels: 1).pixels.map { $0 > 127 }
  }

  /// A shape that covers about a share of the image.
  private static func rectangle(_ shape: Shape, share: Double, in data: DataDescription) -> (
    x: Range<Int>, y: Range<Int>
  ) {
    func part(_ size: Int, _ share: Double) -> Int { max(1, Int((Double(size) * share).rounded())) }
    let (width, height) = (part(data.width, share), part(data.height, share))
    switch shape {
    case .left: return (0..<width, 0..<data.height)
    case .right: return (data.width - width..<data.width, 0..<data.height)
    case .top: return (0..<data.width, 0..<height)
    case .bottom: return (0..<data.width, data.height - height..<data.height)
    case .center, .randomPatches:
      let (width, height) = (part(data.width, share.squareRoot()), part(data.height, share.squareRoot()))
      let (left, top) = ((data.width - width) / 2, (data.height - height) / 2)
      return (left..<left + width, top..<top + height)
    }
  }

  private static func pixels(_ data: DataDescription, _ isMissing: (_ x: Int, _ y: Int) -> Bool) -> [Bool] {
    (0..<data.height).flatMap { y in (0..<data.width).map { x in isMissing(x, y) } }
  }
}
