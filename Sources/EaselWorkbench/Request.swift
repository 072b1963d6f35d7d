import EaselSupport
import Foundation

/// Something that one can ask for: a struct of declared fields, which travels as JSON, and what answers it.
///
/// A verb of the program is a request read from a command line; a page or a program of one's own makes it in another way:
///
///     let bench = try Workbench("path/to/workspace")
///     let answer = try bench.run(SampleRequest { $0.source.checkpoint = "vae"; $0.count = 16 })
///     try answer.grid.write(to: "samples.png", text: answer.recipe.text)
public protocol Request: DeclaredFields {
  associatedtype Answer
  /// `sample`: in recipes, messages and the program's command line.
  static var name: String { get }
  /// What the answer is, in a few words.
  static var summary: String { get }
  /// Fields that say where things are on this machine, which a recipe does without.
  static var local: [String] { get }
  /// Whether it can be asked of a model; false for what is not about one.
  static func isOffered(by model: any Model) -> Bool
  func answer(_ work: Work) throws -> Answer
}

extension Request {
  public static var local: [String] { CheckpointChoice.fields.map(\.key) }
  public static func isOffered(by model: any Model) -> Bool { false }

  /// A request out of JSON: an object with some of its fields; the others have their defaults.
  ///
  /// - Throws: `UserError` (usage) for a field that there is not, with the nearest one, and for a value of another type or out
  ///   of bounds; bad data for what is no JSON object of fields.
  public init(json: Data) throws {
    let fields: [String: FieldContent]
    do {
      fields = try JSONDecoder().decode([String: FieldContent].self, from: json)
    } catch {
      throw UserError(.badData, "\(Self.name): expected a JSON object of fields: \(error.reason)")
    }
    try self.init(fields: fields)
    try validate(FieldCheck(namingFields: true))
  }

  init(fields: [String: FieldContent]) throws {
    var document = try ConfigurationDocument(defaults: Self())
    for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
      try document.set(key, to: value, origin: .place("the \(Self.name) request"))
    }
    self = try document.decode(Self.self)
  }

  /// The fields that are not as they are by default.
  var given: [(key: String, value: FieldContent)] {
    let defaults = Self()
    return Self.fields.compactMap { field in
      let value = field.content(of: self)
      return value == field.content(of: defaults) ? nil : (field.key, value)
    }
  }
}

/// Where requests are answered: a workspace, and who watches.
public struct Workbench {
  public let workspace: Workspace
  public var observer = Observer()

  /// - Parameters:
  ///   - path: the folder with `Data/`, `Checkpoints/` and `Samples/`; nil for the current one.
  ///   - observer: who is told of the work.
  /// - Throws: `UserError` (missing input) where there is no such folder.
  public init(_ path: String? = nil, observer: Observer = Observer()) throws {
    workspace = try Workspace(path)
    self.observer = observer
  }

  /// Answers a request.
  ///
  /// - Throws: `UserError` for what is wrong with the request or the files that it names; ``Cancelled``.
  public func run<Asked: Request>(_ request: Asked) throws -> Asked.Answer {
    try request.validate(FieldCheck(namingFields: true))
    return try request.answer(Work(workspace, observer))
  }

  /// Prepares a training, which then waits to be run.
  ///
  /// - Throws: `UserError`.
  public func begin(_ request: TrainRequest) throws -> TrainingSession {
    try request.validate(FieldCheck(namingFields: true))
    return try request.session(Work(workspace, observer))
  }

  /// Prepares to go on with a run.
  ///
  /// - Throws: `UserError`.
  public func begin(_ request: ResumeRequest) throws -> TrainingSession {
    try request.validate(FieldCheck(namingFields: true))
    return try request.session(Work(workspace, observer))
  }

  /// The settings that a request to train comes to, before any data are read.
  ///
  /// - Throws: `UserError` (usage) for settings that make no sense or change nothing.
  public func configuration(
    of request: TrainRequest
  ) throws -> (preset: AnyPreset, configuration: ConfigurationDocument) {
    try request.validate(FieldCheck(namingFields: true))
    return try request.configuration(Work(workspace, observer))
  }

  /// The request that made a picture, for the checkpoint that made it.
  ///
  /// - Parameters:
  ///   - type: the kind of request.
  ///   - picture: a PNG file with a recipe.
  ///   - change: what is other than the recipe tells, such as where the files of its images are.
  /// - Throws: `UserError`; bad data where it has none of such a request, or another checkpoint is named than it was made from.
  public func request<Asked: RecordedRequest>(
    _ type: Asked.Type = Asked.self, from picture: String, _ change: (inout Asked) throws -> Void = { _ in }
  ) throws -> Asked {
    let recipe = try RecordedRecipe(picture)
    var request = try recipe.request(type)
    try change(&request)
    try request.find(recipe, in: workspace)
    return request
  }
}

/// A request to a model out of a checkpoint.
public protocol ModelRequest: Request {
  /// What the model must be able to do, as `any Sampling`.
  associatedtype Capability
  var source: CheckpointChoice { get set }
  /// Refuses what the model does not take, without computing anything.
  ///
  /// - Throws: `UserError` (usage).
  func validate(for model: Capability) throws
  func answer(_ job: Job<Capability>) throws -> Answer
}

extension ModelRequest {
  public func validate(for model: Capability) throws {}
  public static func isOffered(by model: any Model) -> Bool { model is Capability }

  public func answer(_ work: Work) throws -> Answer {
    let loaded = try source.load(work)
    guard let model = loaded.model as? Capability else {
      throw loaded.refusal("cannot \(Self.name)")
    }
    try validate(for: model)
    return try work.computing(with: loaded.model) { try answer(Job(work: work, loaded: loaded, model: model)) }
  }
}

/// A request to a model on its way.
public struct Job<Capability> {
  public let work: Work
  public let loaded: LoadedModel
  public let model: Capability
  var context: ModelContext { loaded.model.context }
  var data: DataDescription { loaded.model.context.data }
}

/// A request whose recipe goes into the pictures that answer it, and which can be read from them again.
public protocol RecordedRequest: Request {
  /// Reads the recipe of a picture that an earlier version made.
  ///
  /// - Throws: `UserError` (bad data) where that version did not tell enough.
  init(settings: [String: String], of picture: String) throws
  /// Finds the checkpoint that a picture was made from, where it was made from one.
  mutating func find(_ recipe: RecordedRecipe, in workspace: Workspace) throws
}

extension RecordedRequest {
  public init(settings: [String: String], of picture: String) throws {
    throw UserError(
      .badData, "\(picture): \(settings["version"] ?? "an earlier easel") made it and did not note all of the request",
      hint: "What it did note: easel inspect \(picture)")
  }
}

/// A request for a picture from a model.
public protocol PictureRequest: ModelRequest, RecordedRequest where Answer == PictureAnswer {}

extension PictureRequest {
  public mutating func find(_ recipe: RecordedRecipe, in workspace: Workspace) throws {
    try source.find(recipe, in: workspace)
  }
}
