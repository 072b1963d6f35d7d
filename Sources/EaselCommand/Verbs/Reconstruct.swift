import ArgumentParser
import EaselKit

struct Reconstruct: PictureVerb {
  static let configuration = CommandConfiguration(abstract: ReconstructRequest.summary)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions
  @Option(parsing: .unconditional, help: .field(\ReconstructRequest.count)) var count = 16
  @Option(parsing: .unconditional, help: .field(\ReconstructRequest.columns)) var columns = 8

  func ask(_ request: inout ReconstructRequest) {
    (request.input, request.count, request.columns) = (input.choice, count, columns)
  }

  func finish(_ answer: PictureAnswer) {
    Console.note(
      "mean PSNR \(answer.figures["psnr", default: 0].formatted(2)) dB over \(answer.count) images of \(answer.subject)"
    )
  }
}
