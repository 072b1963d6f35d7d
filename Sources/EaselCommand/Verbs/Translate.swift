import ArgumentParser
import EaselKit

struct Translate: PictureVerb {
  static let configuration = CommandConfiguration(
    abstract: TranslateRequest.summary,
    discussion: """
      A cycled image is translated there and back, if the model knows a way back. With --folder, every image is \
      written as a file of its own.

      --pairs judges on held-out images of both data sets. Images with the same name belong together or, without \
      names, those with the same index. It prints how near each translation is to its true counterpart (mean absolute \
      error from 0 to 1, structural similarity), and how often no other image is nearer (rank 1), beside the same \
      figures for the untouched images.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions
  @Option(help: .field(\TranslateRequest.direction)) var direction: String?
  @Option(parsing: .unconditional, help: .field(\TranslateRequest.strength)) var strength: Double?
  @Option(parsing: .unconditional, help: .field(\TranslateRequest.label)) var label: String?
  @Option(parsing: .unconditional, help: .field(\TranslateRequest.prompt)) var prompt: String?
  @Option(parsing: .unconditional, help: .field(\TranslateRequest.copies)) var copies = 1
  @Option(parsing: .unconditional, help: .field(\TranslateRequest.seed)) var seed: UInt64 = 0
  @Option(parsing: .unconditional, help: .field(\TranslateRequest.count)) var count: Int?
  @Option(parsing: .unconditional, help: .field(\TranslateRequest.columns)) var columns = 8
  @Option(help: .field(\TranslateRequest.folder)) var folder: String?
  @Flag(help: .field(\TranslateRequest.pairs)) var pairs = false

  func ask(_ request: inout TranslateRequest) {
    (request.input, request.direction, request.strength, request.label) = (input.choice, direction, strength, label)
    (request.copies, request.seed, request.count, request.columns) = (copies, seed, count, columns)
    (request.prompt, request.pairs) = (prompt, pairs)
  }

  func run() throws {
    guard let folder else { return try draw() }
    for (option, isGiven) in [("--output", picture.output != nil), ("--pairs", pairs)] where isGiven {
      throw UserError(.usage, "\(option): with --folder there is no sheet", hint: "Leave out one of the two.")
    }
    let desk = try Desk(picture.common)
    var request = try request(desk).request
    (request.separate, request.folder) = (true, folder)
    try Destination(folder, field: "folder", is: .folder).check()
    let answer = try desk.bench.run(request)
    try answer.writePictures { "\(folder)/\(answer.names[$0]).png" }
    try desk.report(answer, at: folder, of: request)
  }

  func finish(_ answer: PictureAnswer) {
    guard let count = answer.figures["pairs"] else { return }
    let directions = Set(answer.figures.keys.compactMap { $0.contains(".") ? $0.prefix { $0 != "." } : nil }).sorted()
    let rows = directions.flatMap { direction in
      ["", "-untouched"].map { suffix in
        func figure(_ name: String) -> Double { answer.figures["\(direction).\(name)\(suffix)", default: 0] }
        return [
          String(direction), suffix.isEmpty ? "translated" : "untouched", figure("l1").formatted(4),
          figure("ssim").formatted(4), "\((100 * figure("rank-1")).formatted(1)) %",
        ]
      }
    }
    Console.note(text: Console.table(["\(Int(count)) pairs", "", "L1", "SSIM", "rank 1"], rows, rightAlignedFrom: 2))
  }
}
