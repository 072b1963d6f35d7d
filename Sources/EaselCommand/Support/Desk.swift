import ArgumentParser
import EaselKit
import Foundation

/// What every verb works with: the workbench, whose remarks and progress go to the terminal, and functions that print
/// answers.
struct Desk {
  let bench: Workbench
  let json: Bool
  private let start = Date()

  init(_ common: CommonOptions) throws {
    json = common.json
    let bar = ProgressBar()
    var patience: Patience?
    bench = try Workbench(
      common.workspace,
      observer: Observer(
        remark: { Console.note($0) }, progress: { bar.show($0, $1) },
        waiting: {
          patience?.end()
          patience = $0.map { Patience($0) }
        }))
  }

  /// Seconds since the verb began.
  var seconds: Double { Date().timeIntervalSince(start) }

  /// The path of a picture in `Samples/`.
  func sample(_ name: String) -> String { "\(bench.workspace.path)/Samples/\(name).png" }
}

/// What a verb wrote, for `--json`.
struct PictureReport: Encodable {
  var output: String
  var checkpoint: String?
  var hash: String?
  var count: Int
  var seconds: Double
  /// Verb-specific figures.
  var figures: [String: Double] = [:]
}

/// The options of every verb that makes a picture from a checkpoint.
struct PictureOptions: ParsableArguments {
  @OptionGroup var source: CheckpointOptions

  @Option(help: "The picture (default: in Samples/, named after the run and the verb).")
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Make a picture again that this verb made, from the same checkpoint with the same options.", valueName: "png"))
  var recipe: String?

  @OptionGroup var common: CommonOptions
}

/// A verb whose answer is a picture.
protocol PictureVerb: ParsableCommand {
  associatedtype Asked: PictureRequest
  var picture: PictureOptions { get }
  /// Sets everything that was typed except the checkpoint.
  func ask(_ request: inout Asked) throws
  /// Checks the verb's other output paths before anything is computed.
  func check() throws
  /// Writes everything except the picture, and prints what the verb found.
  func finish(_ answer: PictureAnswer) throws
}

extension PictureVerb {
  func check() throws {}
  func finish(_ answer: PictureAnswer) throws {}

  /// The request, from a recipe if one is named, and whether that recipe's picture is a film.
  func request(_ desk: Desk) throws -> (request: Asked, isOfFilm: Bool) {
    var typed = Asked()
    try ask(&typed)
    guard let recipe = picture.recipe else {
      typed.source = picture.source.choice
      return (typed, false)
    }
    var isOfFilm = false
    let request: Asked = try desk.bench.request(from: recipe) { request in
      isOfFilm = request.hasFilm
      try request.take(typed, allowing: ImageChoice.fields.map(\.key) + ["animate"])
      request.source = picture.source.choice
    }
    return (request, isOfFilm)
  }

  func run() throws { try draw() }

  /// Makes the picture and writes it.
  func draw() throws {
    let desk = try Desk(picture.common)
    let (request, isOfFilm) = try request(desk)
    try check()
    let output = Destination(picture.output ?? desk.sample("\(request.source.runName)-\(Asked.name)"))
    try output.check()
    let answer = try desk.bench.run(request)
    try finish(answer)
    if isOfFilm, let film = answer.film {
      try film.write(to: output.path, answer.recipe)
    } else {
      try answer.write(to: output.path)
    }
    try desk.report(answer, at: output.path, of: request)
  }
}

extension Request {
  /// Whether the request asks for a film.
  fileprivate var hasFilm: Bool {
    Self.fields.contains { $0.key == "animate" && $0.content(of: self) == .flag(true) }
  }

  /// Takes the options typed beside a recipe: where the images are, and what else to write.
  ///
  /// - Parameter allowed: the fields that may be typed.
  /// - Throws: `UserError` (usage) for other fields, because the recipe sets them.
  mutating func take(_ typed: Self, allowing allowed: [String]) throws {
    let defaults = Self()
    for field in Self.fields where !Self.local.contains(field.key) {
      if field.content(of: typed) == field.content(of: defaults) { continue }
      guard allowed.contains(field.key) else {
        throw UserError(
          .usage, "--\(field.key): with --recipe the picture sets it", hint: "Leave out one of the two.")
      }
      field.copy(from: typed, to: &self)
    }
  }
}

extension Desk {
  /// Prints where a picture is, as a path or as JSON.
  func report(_ answer: PictureAnswer, at path: String, of request: some PictureRequest) throws {
    guard json else { return Console.print(path: path) }
    let folder = try? bench.workspace.checkpoints.resolve(request.source.checkpoint).checkpoint
    try Console.print(
      json: PictureReport(
        output: path, checkpoint: folder?.path, hash: answer.recipe.modelHash, count: answer.count, seconds: seconds,
        figures: answer.figures))
  }
}
