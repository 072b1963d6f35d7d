import ArgumentParser
import EaselKit

struct Search: PictureVerb {
  static let configuration = CommandConfiguration(
    abstract: SearchRequest.summary,
    discussion: """
      Takes a checkpoint of the family clip. Prints how near the pictures are, from -1 to 1, in the order of the sheet.
      """)

  @OptionGroup var picture: PictureOptions
  @Argument(help: .field(\SearchRequest.prompt)) var prompt: String?
  @Option(help: .field(\SearchRequest.image)) var image: String?
  @Option(help: .field(\SearchRequest.input.data)) var data: String?
  @Option(parsing: .upToNextOption, help: .field(\SearchRequest.input.images)) var images: [String] = []
  @Option(help: .field(\ImageChoice.fit)) var fit: ImageFit?
  @Flag(help: .field(\ImageChoice.skipBroken)) var skipBroken = false
  @Option(parsing: .unconditional, help: .field(\SearchRequest.count)) var count = 16
  @Option(parsing: .unconditional, help: .field(\SearchRequest.columns)) var columns = 8

  func ask(_ request: inout SearchRequest) {
    (request.prompt, request.image, request.count, request.columns) = (prompt, image, count, columns)
    (request.input.data, request.input.images) = (data, images)
    (request.input.fit, request.input.skipBroken) = (fit, skipBroken)
  }

  func finish(_ answer: PictureAnswer) {
    let rows = answer.names.enumerated().map { place, name in
      [name, answer.figures["similarity-\(place + 1)", default: 0].formatted(3)]
    }
    Console.note(text: Console.table(["picture", "similarity"], rows, rightAlignedFrom: 1))
  }
}
