import ArgumentParser
import EaselKit

struct Denoise: PictureVerb {
  static let configuration = CommandConfiguration(
    abstract: DenoiseRequest.summary,
    discussion: """
      Prints mean PSNR and SSIM against the clean images, for the restored ones, the damaged ones, and the Gaussian \
      blur of the damaged ones that comes nearest.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions
  @Option(parsing: .unconditional, help: .field(\DenoiseRequest.count)) var count = 8
  @Option(parsing: .unconditional, help: .field(\DenoiseRequest.columns)) var columns = 8
  @Option(help: .field(\DenoiseRequest.corruption)) var corruption: Corruption.Kind?

  @Option(
    name: [.long, .customLong("strength")], parsing: .unconditional, help: .field(\DenoiseRequest.noise))
  var noise: Float?

  @Option(help: .field(\DenoiseRequest.beside)) var beside: String?
  @Option(parsing: .unconditional, help: .field(\DenoiseRequest.seed)) var seed: UInt64 = 0

  func ask(_ request: inout DenoiseRequest) {
    (request.input, request.count, request.columns, request.seed) = (input.choice, count, columns, seed)
    (request.corruption, request.noise, request.beside) = (corruption, noise, beside)
  }

  func finish(_ answer: PictureAnswer) {
    let (figures, recipe) = (answer.figures, answer.recipe)
    let names = [
      "noisy": "noisy", "blurred": "blurred (deviation \(figures["blur-deviation", default: 0]))",
      "beside": beside ?? "beside", "restored": "restored",
    ]
    let rows = ["noisy", "blurred", "beside", "restored"].compactMap { name in
      figures["psnr-\(name)"].map {
        [names[name] ?? name, "\($0.formatted(2)) dB", figures["ssim-\(name)", default: 0].formatted(3)]
      }
    }
    Console.note(
      "Over \(answer.count) images of \(answer.subject), \(recipe["Corruption"] ?? "") \(recipe["Noise"] ?? ""):")
    Console.note(text: Console.table(["", "PSNR", "SSIM"], rows, rightAlignedFrom: 1))
  }
}

extension Corruption.Kind: ExpressibleByArgument {}
