import ArgumentParser
import EaselKit

struct Interpolate: PictureVerb {
  static let configuration = CommandConfiguration(
    abstract: InterpolateRequest.summary,
    discussion: """
      Walks between two noises if the model draws from noise, otherwise between held-out images; or between two given \
      images. If codes are normal numbers, also along one number after the other, or over the plane of a code of two.
      A diffusion model's walks take --steps, --sampler, --label or --prompt (one per row, in turn) and --guidance.
      """)

  @OptionGroup var picture: PictureOptions
  @Option(help: .field(\InterpolateRequest.along)) var along = InterpolateRequest.Path.walks
  @Option(parsing: .unconditional, help: .field(\InterpolateRequest.frames)) var frames = 8
  @Option(parsing: .unconditional, help: .field(\InterpolateRequest.rows)) var rows: Int?
  @Option(parsing: .upToNextOption, help: .field(\InterpolateRequest.like)) var like: [String] = []
  @OptionGroup var input: ImageOptions
  @OptionGroup var sampling: SamplingOptionGroup

  @Option(help: "Also write the walks as an animated PNG, to and fro.")
  var animate: String?

  func ask(_ request: inout InterpolateRequest) throws {
    (request.along, request.frames, request.rows) = (along, frames, rows)
    (request.input, request.sampling) = (input.choice, try sampling.choice())
    (request.like, request.film) = (like, animate != nil)
  }

  func check() throws {
    if let animate { try Destination(animate, field: "animate").check() }
  }

  func finish(_ answer: PictureAnswer) throws {
    if let animate { try answer.film?.write(to: animate, answer.recipe) }
  }
}

extension InterpolateRequest.Path: ExpressibleByArgument {}
