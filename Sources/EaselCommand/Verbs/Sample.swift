import ArgumentParser
import EaselKit
import Foundation

struct Sample: PictureVerb {
  static let configuration = CommandConfiguration(abstract: SampleRequest.summary)

  @OptionGroup var picture: PictureOptions
  @Option(parsing: .unconditional, help: .field(\SampleRequest.first)) var first = 0
  @Option(parsing: .unconditional, help: .field(\SampleRequest.count)) var count: Int?
  @Option(parsing: .unconditional, help: .field(\SampleRequest.columns)) var columns: Int?
  @Option(parsing: .upToNextOption, help: .field(\SampleRequest.like)) var like: [String] = []
  @Option(parsing: .unconditional, help: .field(\SampleRequest.bestOf)) var bestOf = 1
  @Option(help: .field(\SampleRequest.clip.checkpoint)) var clip: String?
  @OptionGroup var sampling: SamplingOptionGroup

  @Option(help: "Also write the images as a NumPy array [N, H, W, C], float32, 0 to 1.")
  var array: String?

  @Option(help: "Also write each image into a folder.")
  var individual: String?

  @Option(help: "Also write the way from noise to the grid as an animated PNG, for models that draw in steps.")
  var animate: String?

  func ask(_ request: inout SampleRequest) throws {
    (request.first, request.count, request.columns) = (first, count, columns)
    (request.like, request.bestOf, request.clip.checkpoint) = (like, bestOf, clip)
    (request.sampling, request.film) = (try sampling.choice(), animate != nil)
  }

  func check() throws {
    if let array { try Destination(array, field: "array", is: .array).check() }
    if let individual { try Destination(individual, field: "individual", is: .folder).check() }
    if let animate { try Destination(animate, field: "animate").check() }
  }

  func finish(_ answer: PictureAnswer) throws {
    if let array { try answer.writeArray(to: array) }
    if let individual {
      try answer.writePictures { String(format: "%@/%05d.png", individual, $0) }
    }
    if let animate { try answer.film?.write(to: animate, answer.recipe) }
  }
}
