import ArgumentParser
import EaselKit

struct Inpaint: PictureVerb {
  static let configuration = CommandConfiguration(
    abstract: InpaintRequest.summary,
    discussion: """
      Also prints how far the made-up pixels are from the true ones, beside the error of the simplest completion, \
      the mean of each image's known pixels.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions
  @Option(parsing: .unconditional, help: .field(\InpaintRequest.count)) var count = 8
  @Option(parsing: .unconditional, help: .field(\InpaintRequest.columns)) var columns = 8
  @Option(help: .field(\InpaintRequest.mask)) var mask = InpaintingMask.Pattern.randomPatches.rawValue
  @Option(parsing: .unconditional, help: .field(\InpaintRequest.masked)) var masked: Double?
  @Option(parsing: .unconditional, help: .field(\InpaintRequest.patch)) var patch: Int?
  @Option(parsing: .unconditional, help: .field(\InpaintRequest.seed)) var seed: UInt64 = 0

  func ask(_ request: inout InpaintRequest) {
    (request.input, request.count, request.columns, request.seed) = (input.choice, count, columns, seed)
    (request.mask, request.masked, request.patch) = (mask, masked, patch)
  }

  func finish(_ answer: PictureAnswer) {
    let figures = answer.figures
    Console.note(
      "mean squared error \(figures["mse-missing", default: 0].formatted(5)) of missing pixels "
        + "(\(figures["mse-missing-trivial", default: 0].formatted(5)) with the mean of the known ones), "
        + "mean PSNR \(figures["psnr", default: 0].formatted(2)) dB, over \(answer.count) images of \(answer.subject)")
  }
}
