import ArgumentParser
import EaselKit
import Foundation

struct Denoise: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Damage images and restore them: clean, damaged and restored rows.",
    discussion: """
      Prints mean PSNR and SSIM to the clean images, of the restored ones, of the damaged ones, and of the Gaussian blur of \
      these that comes nearest.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions

  @Option(parsing: .unconditional, help: "How many images.")
  var count = 8

  @Option(parsing: .unconditional, help: "Images in a row.")
  var columns = 8

  @Option(help: "gaussian, salt-and-pepper or squares (default: what the model was trained for).")
  var corruption: Corruption.Kind?

  @Option(
    name: [.long, .customLong("strength")], parsing: .unconditional,
    help: "The noise's deviation, where 1 is from black to white, or the share of pixels (default: the model's).")
  var noise: Float?

  @Option(help: "Another run whose reconstructions of the damaged images are measured too.")
  var beside: String?

  @Option(parsing: .unconditional, help: "Which noise.")
  var seed: UInt64 = 0

  func run() throws {
    try check(count, "--count", 1...100_000)
    try check(columns, "--columns", 1...1000)
    let job = try picture.begin((any Restoring).self, "denoise") {
      try requestedDamage(for: $0).validate(strengthName: "--noise")
    }
    let model = job.model
    let damage = requestedDamage(for: model)
    let (originals, name) = try input.load(count, for: job.loaded, from: job.workspace)
    let clean = tensor(originals, for: model)
    // Draw 1 000 000: away from those that a sampler's own steps use.
    let noisy = damage.apply(to: clean, RandomDraw(seed: seed, stream: .sampling, draw: 1_000_000))
    let restored = try model.restore(noisy, from: damage, seed: seed).images()
    let noisyImages = noisy.images()
    let blur = BestBlur(of: noisy, clean: originals)
    var rows = [
      ("noisy", RestorationFigures(noisyImages, clean: originals)), ("blurred", blur.figures),
      ("restored", RestorationFigures(restored, clean: originals)),
    ]
    if let beside {
      let images = try reconstructions(of: noisy, by: beside, job)
      rows.insert(("beside", RestorationFigures(images, clean: originals)), at: 2)
    }
    var figures = ["blur-deviation": blur.deviation]
    for (name, values) in rows { (figures["psnr-\(name)"], figures["ssim-\(name)"]) = (values.psnr, values.ssim) }
    let recipe = job.recipe([
      "Images": name, "Count": String(originals.count), "Corruption": damage.kind.rawValue,
      "Noise": String(damage.strength), "Seed": String(seed),
    ])
    let names = ["blurred": "blurred (deviation \(blur.deviation))", "beside": beside ?? ""]
    Console.note("Over \(originals.count) images of \(name), \(damage.kind.rawValue) \(damage.strength):")
    Console.note(
      text: Console.table(
        ["", "PSNR", "SSIM"],
        rows.map { [names[$0.0] ?? $0.0, "\($0.1.psnr.formatted(2)) dB", $0.1.ssim.formatted(3)] },
        rightAlignedFrom: 1))
    try job.finish(
      ImageGrid.alternatingRows([originals, noisyImages, restored], columns: columns),
      columns: min(columns, originals.count),
      recipe, count: originals.count, figures: figures)
  }

  /// What another model, of the same images, makes of the damaged ones.
  private func reconstructions(of noisy: Tensor, by name: String, _ job: PictureJob<any Restoring>) throws -> [Image] {
    let loaded = try picture.source.loading.load(name, from: job.workspace)
    guard let other = loaded.model as? any ImageEncoding else {
      throw UserError(.unavailable, "--beside: \(loaded.state.preset) cannot reconstruct")
    }
    let (found, expected) = (loaded.state.data.description, job.loaded.state.data.description)
    guard found.shape(1) == expected.shape(1) else {
      throw UserError(
        .usage,
        "--beside: \(name) takes images of \(found.width)×\(found.height)×\(found.channels), expected "
          + "\(expected.width)×\(expected.height)×\(expected.channels)")
    }
    let images = Tensor(noisy.values(), shape: noisy.shape, on: other.context.backend)
    return other.decode(other.encode(images)).images()
  }

  private func requestedDamage(for model: any Restoring) -> Corruption {
    var damage = model.corruption
    if let corruption { damage.kind = corruption }
    if let noise { damage.strength = noise }
    return damage
  }
}

extension Corruption.Kind: ExpressibleByArgument {}
